import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'

/** An item of the catalog. */
interface Item {
  readonly id: number
  readonly name: string
  readonly price: number
  readonly tags: readonly string[]
}

const items: readonly Item[] = [
  { id: 1, name: 'Brass sextant', price: 240, tags: ['navigation', 'brass'] },
  { id: 2, name: 'Storm lantern', price: 38, tags: ['light', 'brass'] },
  { id: 3, name: 'Tide table', price: 12, tags: ['navigation', 'paper'] },
  { id: 4, name: 'Signal whistle', price: 9, tags: ['safety'] }
]

/** Starts the catalog: /items, /items/:id and /search?q=, in JSON. */
export async function start(port: number): Promise<Server> {
  const server = createServer((request, response) => {
    const [status, body] = answer(request)
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return server
}

function answer({ method, url }: IncomingMessage): [status: number, body: unknown] {
  const { pathname, searchParams } = new URL(url ?? '/', 'http://catalog')
  if (method !== 'GET' && method !== 'HEAD') return [405, { error: 'The catalog is for reading' }]
  if (pathname === '/items') return [200, items]
  if (pathname === '/search') return [200, find(searchParams.get('q') ?? '')]
  const id = /^\/items\/(\d+)$/.exec(pathname)?.[1]
  const item = items.find((each) => each.id === Number(id))
  return item === undefined ? [404, { error: 'There is no such item' }] : [200, item]
}

function find(text: string): Item[] {
  const wanted = text.toLowerCase()
  return items.filter(({ name, tags }) => name.toLowerCase().includes(wanted) || tags.includes(wanted))
}
