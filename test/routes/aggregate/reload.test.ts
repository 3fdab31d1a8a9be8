import { once } from 'node:events'
import { type IncomingMessage, request as send } from 'node:http'
import { buffer, text } from 'node:stream/consumers'
import { gunzipSync } from 'node:zlib'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { Keep } from '../../../src/index.ts'
import { gateway, listening } from '../../helpers.ts'
import { redis, stored, withoutRedis } from '../../redis.ts'
import { service } from './services.ts'

const FRESH = { 'cache-control': 'max-age=60' }

/** Sends a request for a host that all gateways have, and reads the response. */
async function get(url: string, headers: Record<string, string> = {}): Promise<[string, IncomingMessage]> {
  const request = send(url, { headers: { host: 'shop.example', ...headers }, agent: false }).end()
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  return [await text(response), response]
}

t.test('a response whose legs run during a reload is made by its own generation', async (t) => {
  let asked = 0
  let opened = Promise.withResolvers<void>()
  const url = await service(t, {
    '/slow': (_request, response) => {
      asked++
      void opened.promise.then(() => response.writeHead(200, FRESH).end('"slow"'))
    },
    '/quick': '1'
  })
  const keep = new Keep()
  const configFor = (generation: string, cache: boolean): object => ({
    upstreams: { one: { url } },
    routes: [
      {
        path: '/x',
        aggregate: {
          legs: {
            slow: { upstream: 'one', path: '/slow', cache },
            quick: { upstream: 'one', path: '/quick' }
          },
          body: { generation, slow: '{legs.slow}' }
        }
      }
    ]
  })
  for (const cache of [false, true]) {
    opened = Promise.withResolvers<void>()
    const { served, url: at, app } = await listening(t, configFor('old', cache), { keep })
    const before = asked
    const running = get(`${at}/x`)
    while (asked === before) await new Promise(setImmediate)
    const next = await gateway(t, configFor('new', cache), { keep })
    served.swap(next)
    const after = get(`${at}/x`)
    if (cache) while (collapsed(next) === 0) await new Promise(setImmediate)
    else while (asked < before + 2) await new Promise(setImmediate)
    opened.resolve()
    t.equal((await running)[0], '{"generation":"old","slow":"slow"}')
    t.equal((await after)[0], '{"generation":"new","slow":"slow"}')
    t.equal(asked - before, cache ? 1 : 2, 'both generations share the request of a cached leg')
    t.equal(app.buffers.held, 0)
  }
})

const collapsed = ({ responseCache }: FastifyInstance): number =>
  responseCache
    ?.families()
    .find(({ name }) => name === 'sallyport_cache_requests_total')
    ?.values.find(({ labels }) => labels['result'] === 'collapsed')?.value ?? 0

t.test('compresses what the legs make, also from the cache', async (t) => {
  const url = await service(t, {
    '/a': (_request, response) => void response.writeHead(200, FRESH).end(JSON.stringify('a'.repeat(5000)))
  })
  const { url: at } = await listening(t, {
    compress: true,
    routes: [false, true].map((cache) => ({
      path: `/${cache}`,
      cache,
      aggregate: { legs: { a: { upstream: url, path: '/a', cache: true } } }
    }))
  })
  for (const path of ['/false', '/true', '/true']) {
    const request = send(at + path, { headers: { 'accept-encoding': 'gzip' }, agent: false }).end()
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    t.equal(response.headers['content-encoding'], 'gzip')
    t.equal(gunzipSync(await buffer(response)).toString(), JSON.stringify({ a: 'a'.repeat(5000) }))
  }
})

t.test('gateways share complete responses in Redis', { skip: withoutRedis }, async (t) => {
  const server = await redis(t)
  let asked = 0
  const url = await service(t, {
    '/a': (_request, response) => void response.writeHead(200, FRESH).end(String(++asked))
  })
  const config = {
    store: { redis: server.url, timeout: '10s' },
    routes: [{ path: '/x', cache: true, aggregate: { legs: { a: { upstream: url, path: '/a' } } } }]
  }
  const [one, other] = [await listening(t, config), await listening(t, config)]
  t.equal((await get(`${one.url}/x`))[0], '{"a":1}')
  await stored(server, 1)
  const [body, { headers }] = await get(`${other.url}/x`)
  t.equal(body, '{"a":1}')
  t.match(headers['cache-status'], /hit/)
  t.equal(asked, 1)
})
