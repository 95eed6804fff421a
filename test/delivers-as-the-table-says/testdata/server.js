// A mail exchanger for Node.js 0.8 and 0.10, whose OpenSSL is of its time. It
// offers STARTTLS and prints a line for each message that it takes:
//
//   TOOK clear MESSAGE-ID        TOOK tls MESSAGE-ID
//
//   node server.js IP PORT METHOD CIPHERS CERTFILE KEYFILE
var net = require('net'), tls = require('tls'), crypto = require('crypto'), fs = require('fs');
var ip = process.argv[2], port = +process.argv[3], ciphers = process.argv[5];
var options = { secureProtocol: process.argv[4], cert: fs.readFileSync(process.argv[6]), key: fs.readFileSync(process.argv[7]) };
if (ciphers) options.ciphers = ciphers;
var credentials = crypto.createCredentials(options);

// serve talks SMTP on a stream. upgrade is called after the 220 to STARTTLS,
// and is missing inside TLS.
function serve(stream, upgrade) {
  var text = '', inMessage = false;
  function line(l) {
    if (inMessage) {
      var id = /^message-id: <([^@]*)@/i.exec(l);
      if (id) console.log('TOOK ' + (upgrade ? 'clear ' : 'tls ') + id[1]);
      if (l === '.') { inMessage = false; stream.write('250 2.0.0 taken\r\n'); }
      return;
    }
    switch (l.split(' ')[0].toUpperCase()) {
    case 'EHLO': return stream.write('250-old.test\r\n' + (upgrade ? '250-STARTTLS\r\n' : '') + '250 8BITMIME\r\n');
    case 'DATA': inMessage = true; return stream.write('354 go on\r\n');
    case 'QUIT': return stream.end('221 2.0.0 bye\r\n');
    case 'STARTTLS':
      stream.removeListener('data', data);
      stream.write('220 2.0.0 go on\r\n');
      return upgrade();
    default: return stream.write('250 2.0.0 ok\r\n');
    }
  }
  function data(chunk) {
    text += chunk.toString('utf8');
    for (var at; (at = text.indexOf('\r\n')) >= 0;) {
      var l = text.slice(0, at);
      text = text.slice(at + 2);
      line(l);
    }
  }
  stream.on('data', data);
  stream.on('error', function () {});
}

net.createServer(function (socket) {
  socket.on('error', function () {});
  serve(socket, function () {
    var pair = tls.createSecurePair(credentials, true, false, false);
    pair.encrypted.pipe(socket);
    socket.pipe(pair.encrypted);
    pair.on('error', function () { socket.destroy(); });
    pair.on('secure', function () { serve(pair.cleartext); });
    socket.on('close', function () { pair.destroy(); });
  });
  socket.write('220 old.test ESMTP\r\n');
}).listen(port, ip, function () { console.log('LISTENING'); });
