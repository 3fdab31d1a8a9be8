// A service to look at the gateway with: it answers with what it was asked, a little late at times.
import { createServer } from 'node:http'

createServer((request, response) => {
  const late = Math.random() < 0.05 ? 200 : 5
  setTimeout(() => {
    response.writeHead(request.url === '/broken' ? 500 : 200, { 'content-type': 'application/json' })
    response.end(
      `${JSON.stringify({ method: request.method, url: request.url, headers: request.headers })}\n`
    )
  }, late)
}).listen(8080)

process.on('SIGTERM', () => process.exit(0))
