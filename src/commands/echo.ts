import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exitOnClosedPipe } from './closed-pipe.ts'
import type { Command } from './command.ts'
import { CommandError, UsageError } from './outcome.ts'

// What is shown of a body; the rest is counted.
const MAX_BODY_BYTES = 65_536

export const command: Command = {
  summary: 'runs a sample service that responds with the request it got',
  usage: 'sallyport echo [--port 4001]',
  options: {
    port: {
      type: 'string',
      short: 'p',
      value: 'PORT',
      default: '4001',
      about: 'the port; 0 for any free one'
    }
  },
  positionals: [],
  serves: true,
  async run({ values }) {
    exitOnClosedPipe()
    const port = Number(values['port'])
    if (!Number.isInteger(port) || port < 0 || port > 65_535)
      throw new UsageError(`expected a port from 0 to 65535, got "${String(values['port'])}"`)
    const server = createServer((request, response) => void echo(request, response))
    server.listen(port, '127.0.0.1')
    try {
      await once(server, 'listening')
    } catch (error) {
      throw new CommandError(
        `The port ${port} can't be opened (${(error as NodeJS.ErrnoException).code}); --port names another one`
      )
    }
    const { port: opened } = server.address() as AddressInfo
    process.stdout.write(
      `echo service on http://127.0.0.1:${opened}; try: curl http://127.0.0.1:${opened}/hello\n`
    )
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(0))
    return undefined
  }
}

async function echo(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      if (length < MAX_BODY_BYTES) chunks.push(chunk)
      length += chunk.length
    }
  } catch {
    // The client has left.
    return
  }
  const { method, url, headers } = request
  const body = Buffer.concat(chunks).subarray(0, MAX_BODY_BYTES).toString()
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end(`${JSON.stringify({ method, url, headers, body, bytes: length }, null, 2)}\n`)
}
