import t from 'tap'
import { accessLogLine, brokenUpstream, gateway, readableLog, type Seen, upstream } from '../helpers.ts'

t.test('sends the same new id to the client, the upstream and the log', async (t) => {
  const readable = readableLog()
  const { log } = readable
  const app = await gateway(
    t,
    {
      routes: [
        { path: '/echo/*', proxy: { upstream: await upstream(t) } },
        { path: '/down/*', proxy: { upstream: await brokenUpstream(t) } }
      ]
    },
    { log }
  )
  const ids = new Set<unknown>()
  for (const url of ['/echo/a', '/echo/b', '/nowhere', '/down/x']) {
    const answer = await app.inject({ url, headers: { 'x-request-id': 'mine', X_Request_ID: 'mine' } })
    const id = answer.headers['x-request-id']
    t.match(id, /^[\w-]{11,32}$/)
    ids.add(id)
    if (url.startsWith('/echo')) {
      const { rawHeaders } = answer.json<Seen>()
      const sent = rawHeaders.filter((_, i) => /^x[-_]request[-_]id$/i.test(rawHeaders[i - 1] ?? ''))
      t.strictSame(sent, [id], 'without other spellings of the header')
    } else t.equal(answer.json().requestId, id)
    t.equal((await accessLogLine(readable, answer))['path'], url)
  }
  t.equal(ids.size, 4)
})

t.test('accepts the id of a client only where it is trusted and valid', async (t) => {
  const target = await upstream(t)
  const app = await gateway(t, {
    requestId: { trust: true },
    routes: [
      { path: '/a/*', proxy: { upstream: target } },
      { path: '/own/*', proxy: { upstream: target }, requestId: { trust: false } }
    ]
  })
  const cases: [name: string, url: string, id: string, taken: boolean][] = [
    ['a UUID', '/a/x', '0f2c7a3e-58c1-4d0e-9f43-7f3a3a4b5c6d', true],
    ['a trace id', '/a/x', 'Root=1-67891233-abcdef012345678912345678', true],
    ['128 characters', '/a/x', 'i'.repeat(128), true],
    ['129 characters', '/a/x', 'i'.repeat(129), false],
    ['5000 characters', '/a/x', 'i'.repeat(5000), false],
    ['an empty id', '/a/x', '', false],
    ['a space', '/a/x', 'a b', false],
    ['a quote', '/a/x', 'a"b', false],
    ['markup', '/a/x', '<b>', false],
    ['a list', '/a/x', 'a,b', false],
    ['a valid id on a route without trust', '/own/x', 'mine', false],
    ['a valid id on an unknown path', '/nowhere', 'mine', true]
  ]
  for (const [name, url, id, taken] of cases)
    t.test(name, async (t) => {
      const answer = await app.inject({ url, headers: { 'x-request-id': id } })
      const given = answer.headers['x-request-id']
      if (taken) t.equal(given, id)
      else t.match(given, /^[\w-]{11,32}$/)
      if (url !== '/nowhere') t.equal(answer.json<Seen>().headers['x-request-id'], given)
    })
})

t.test('uses the configured header name, or no id where it is off', async (t) => {
  const target = await upstream(t, (request, response) => {
    response.setHeader('x-request-id', 'theirs').setHeader('x-correlation-id', 'theirs')
    response.end(JSON.stringify(request.headers))
  })
  const app = await gateway(t, {
    requestId: { header: 'x-correlation-id', trust: true },
    routes: [
      { path: '/a/*', proxy: { upstream: target } },
      { path: '/off/*', proxy: { upstream: target }, requestId: false }
    ]
  })
  const sent = { 'x-correlation-id': 'mine', 'x-request-id': 'spoofed' }
  const named = await app.inject({ url: '/a/x', headers: sent })
  t.match(named.headers, { 'x-correlation-id': 'mine', 'x-request-id': 'theirs' })
  t.match(named.json(), { 'x-correlation-id': 'mine', 'x-request-id': undefined })
  const off = await app.inject({ url: '/off/x', headers: sent })
  t.match(off.headers, { 'x-correlation-id': 'theirs', 'x-request-id': 'theirs' })
  t.match(off.json(), { 'x-request-id': undefined })
})
