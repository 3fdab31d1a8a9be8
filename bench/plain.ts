// What people write without Sallyport: Fastify with @fastify/http-proxy, and with "plugins" the concerns a gateway has.
import cors from '@fastify/cors'
import helmet from '@fastify/helmet'
import httpProxy from '@fastify/http-proxy'
import rateLimit from '@fastify/rate-limit'
import fastify from 'fastify'

const [port, upstream, plugins] = process.argv.slice(2)
const app = fastify({ logger: plugins !== undefined })
if (plugins !== undefined) {
  await app.register(helmet)
  await app.register(cors, { origin: ['https://app.example.com'], credentials: true })
  await app.register(rateLimit, { max: 1_000_000_000, timeWindow: 3_600_000 })
}
await app.register(httpProxy, { upstream: `http://127.0.0.1:${upstream}`, prefix: '/a' })
await app.listen({ port: Number(port), host: '127.0.0.1' })
