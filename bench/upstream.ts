// An upstream that costs next to nothing: 1 KB, at once.
import { createServer } from 'node:http'

const body = Buffer.alloc(1024, 'a')
createServer((_request, response) => {
  response.writeHead(200, { 'content-type': 'text/plain', 'content-length': body.length })
  response.end(body)
}).listen(Number(process.argv[2]), '127.0.0.1')
