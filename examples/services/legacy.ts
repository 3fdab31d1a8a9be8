import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'

// A legacy service: it speaks XML, has no log-in and trusts the X-User-Id header of every request.
const orders = [
  { id: 'A-17', item: 'Brass sextant', state: 'shipped' },
  { id: 'A-18', item: 'Storm lantern', state: 'open' }
]

/** Starts the legacy service: /orders and /orders/:id, in XML. */
export async function start(port: number): Promise<Server> {
  const server = createServer((request, response) => {
    const [status, xml] = answer(request)
    response.writeHead(status, { 'content-type': 'application/xml' }).end(`<?xml version="1.0"?>\n${xml}\n`)
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return server
}

function answer({ url, headers }: IncomingMessage): [status: number, xml: string] {
  const { pathname } = new URL(url ?? '/', 'http://legacy')
  const user = String(headers['x-user-id'] ?? 'nobody')
  if (pathname === '/orders')
    return [200, `<orders for="${plain(user)}">${orders.map(show).join('')}</orders>`]
  const found = orders.find(({ id }) => pathname === `/orders/${id}`)
  return found === undefined ? [404, '<error>There is no such order</error>'] : [200, show(found)]
}

const show = ({ id, item, state }: (typeof orders)[number]): string =>
  `<order id="${id}"><item>${plain(item)}</item><state>${state}</state></order>`

/** Escapes a text for XML. */
const plain = (text: string): string => text.replaceAll(/[<>&"]/g, (char) => `&#${char.charCodeAt(0)};`)
