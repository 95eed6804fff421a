// A mail client for Node.js 0.8 and later, whose OpenSSL is from the years
// 2009 to 2018. It delivers one message through STARTTLS and prints the
// protocol's name for the cipher, or the error.
//
//   node client.js PORT METHOD CIPHERS MESSAGE-ID
var net = require('net'), tls = require('tls');
var port = +process.argv[2], method = process.argv[3], ciphers = process.argv[4], id = process.argv[5];

function fail(what) { console.log('FAILED ' + what); process.exit(1); }

// talk sends each line once the reply to the one before has come.
function talk(stream, lines, done) {
  var text = '';
  function data(chunk) {
    text += chunk.toString('utf8');
    if (!/^\d\d\d( .*)?\r\n$/m.test(text.slice(text.lastIndexOf('\n', text.length - 2) + 1))) return;
    if (/^[45]/.test(text)) return fail(text);
    text = '';
    if (lines.length) return stream.write(lines.shift() + '\r\n');
    stream.removeListener('data', data);
    done();
  }
  stream.on('data', data);
  stream.on('error', function (e) { fail(e); });
  return data;
}

var raw = net.connect(port, '127.0.0.1');
talk(raw, ['EHLO ' + id + '.test', 'STARTTLS'], function () {
  var options = { socket: raw, rejectUnauthorized: false, secureProtocol: method, servername: 'mx.test' };
  if (ciphers) options.ciphers = ciphers;
  var secured = tls.connect(options, function () {
    var message = 'From: <a@client.test>\r\nMessage-ID: <' + id + '@client.test>\r\n\r\nold but sound\r\n.';
    talk(secured, ['MAIL FROM:<a@client.test>', 'RCPT TO:<b@mx.test>', 'DATA', message, 'QUIT'], function () {
      console.log('DELIVERED ' + JSON.stringify(secured.getCipher()));
      process.exit(0);
    });
    secured.write('EHLO ' + id + '.test\r\n');
  });
  secured.on('error', function (e) { fail(e); });
});
