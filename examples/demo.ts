// npm start: two small services, and the gateway of gateway.json in front of them, as in production.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { main } from '../src/main.ts'
import { start as startCatalog } from './services/catalog.ts'
import { start as startLegacy } from './services/legacy.ts'

const services = [await startCatalog(0), await startLegacy(0)] as const
const [catalog, legacy] = services
const { env } = process
env['CATALOG_URL'] = urlOf(catalog)
env['LEGACY_URL'] = urlOf(legacy)
// A new secret for each start: the demo need not keep sessions over a restart.
env['SESSION_SECRET'] ||= randomBytes(32).toString('base64')
if (env['PORT'] === '0') env['PORT'] = String(await freePort())

const config = fileURLToPath(new URL('../gateway.json', import.meta.url))
const code = await main(['run', '--config', config, '--watch'])
if (code === undefined)
  console.log(
    hints(`http://localhost:${env['PORT'] || 3000}`, `http://localhost:${env['ADMIN_PORT'] || 9901}`)
  )
else {
  // The error, such as a port in use, has been written to stderr.
  process.exitCode = code
  for (const service of services) service.close()
}

function urlOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Finds a free port, so that the hints can name it. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

function hints(url: string, admin: string): string {
  return `
Sallyport is at ${url}; gateway.json says what it does, and is read again when you save it.

In a browser:
  ${url}/                                  what to try
  ${url}/catalog/items
  ${url}/login?return_to=/legacy/orders    log in as ada, password lovelace
  ${admin}/                                  the dashboard: requests, routes, upstreams, refusals

In a shell:
  curl -i '${url}/catalog/search?q=brass'    # again within 10 s: Cache-Status: sallyport; hit
  curl -i '${url}/catalog/items/first'       # 400, the OpenAPI document wants a number
  curl -i ${url}/legacy/orders               # 401, nobody is logged in
  curl -c jar -d username=ada -d password=lovelace ${url}/login
  curl -b jar ${url}/legacy/orders
  curl -b jar ${url}/me                     # both services in one JSON response
  curl -b jar -X POST ${url}/logout
  curl ${url}/hello/world
  curl -iL '${url}/shop/items/2?from=old'    # 308, then the catalog

Ctrl-C stops it.
`
}
