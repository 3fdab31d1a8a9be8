// An upstream that costs next to nothing: it reads what it is sent, and answers 1 KB, or 1 MB under /big, at once.
import { createServer } from 'node:http'

const small = Buffer.alloc(1024, 'a')
const big = Buffer.alloc(1024 * 1024, 'a')
createServer((request, response) => {
  const body = request.url === '/big' ? big : small
  request.resume().on('end', () => {
    response.writeHead(200, { 'content-type': 'text/plain', 'content-length': body.length })
    response.end(body)
  })
}).listen(Number(process.argv[2]), '127.0.0.1')
