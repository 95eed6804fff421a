// A TLS server for Node.js 0.10 and later, whose OpenSSL is from the years 2013
// to 2018. A client of the same OpenSSL asks it for one suite at a time, in
// each version; what that gets is printed as "VERSION ID", and READY at
// the end. From then on the server serves until it is ended.
//
//   node server.js PORT CERTIFICATE KEY DHPARAM CIPHERS server|client
var tls = require('tls'), fs = require('fs');
var argv = process.argv, port = +argv[2];
var options = {
  cert: fs.readFileSync(argv[3]), key: fs.readFileSync(argv[4]),
  ciphers: argv[6], honorCipherOrder: argv[7] === 'server', secureOptions: 0
};
if (argv[5]) options.dhparam = fs.readFileSync(argv[5]);

var questions = [];
['TLSv1_2', 'TLSv1_1', 'TLSv1', 'SSLv3'].forEach(function (version) {
  fs.readFileSync(__dirname + '/suites.txt', 'utf8').trim().split('\n').forEach(function (line) {
    questions.push({ version: version, id: line.split(' ')[0], name: line.split(' ')[1] });
  });
});

function ask() {
  var q = questions.shift(), client, over = false;
  if (!q) return console.log('READY');
  function next() {
    if (over) return;
    over = true;
    if (client) client.destroy();
    process.nextTick(ask);
  }
  try { // throws where this OpenSSL has no such version or suite
    client = tls.connect({
      port: port, host: '127.0.0.1', rejectUnauthorized: false, secureProtocol: q.version + '_method', ciphers: q.name, secureOptions: 0
    }, function () {
      if (client.getCipher().name === q.name) console.log(q.version + ' ' + q.id);
      next();
    });
    client.on('error', next);
    client.on('close', next);
  } catch (e) { next(); }
}

var server = tls.createServer(options, function () {});
server.on('clientError', function () {});
server.listen(port, '127.0.0.1', ask);
