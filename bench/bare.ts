// A server that answers with 1 KB by Node.js alone, over HTTP or TLS: what the gateway's TLS is measured by.
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createSecureServer } from 'node:https'

const [kind, port, cert = '', key = ''] = process.argv.slice(2)
const body = 'a'.repeat(1000)
const server =
  kind === 'https' ? createSecureServer({ cert: readFileSync(cert), key: readFileSync(key) }) : createServer()
server.on('request', (_request, response) => response.end(body))
server.listen(Number(port), '127.0.0.1')
