import { once } from 'node:events'
import http2 from 'node:http2'
import { type AddressInfo, createServer } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { loadConfig } from '../../src/index.ts'
import {
  accessLogLine,
  certificate,
  echo,
  gateway,
  listening,
  noOpenssl,
  readableLog,
  type Scope,
  SECRET,
  type Seen,
  upstream
} from '../helpers.ts'
import { cookieOf, users } from './callers.ts'

interface Service {
  readonly url: string
  readonly asked: Record<string, unknown>[]
}

/** A service that answers with the status in a header of the request, and with hostile headers. */
async function service(t: Scope): Promise<Service> {
  const asked: Record<string, unknown>[] = []
  const url = await upstream(t, (request, response) => {
    asked.push({ method: request.method, url: request.url, ...request.headers })
    const status = Number(request.headers['x-wanted'] ?? 200)
    response.writeHead(status, {
      'content-type': 'text/plain',
      'x-reason': 'banned',
      'set-cookie': ['sid=stolen', 'seen=1'],
      connection: 'x-secret',
      'x-secret': 'of the connection',
      ...(status >= 300 && status < 400 ? { location: 'https://captcha.test/' } : {})
    })
    response.end(status === 204 || status === 304 ? undefined : `status ${status}`)
  })
  return { url, asked }
}

const page = { path: '/a', respond: { body: 'hello' } }

t.test('passes what the service accepts, and sends its refusals to the client', async (t) => {
  const { url, asked } = await service(t)
  const app = await gateway(t, {
    auth: { session: true, users, global: false },
    upstreams: { crowdsec: { url } },
    ask: {
      upstream: 'crowdsec',
      path: '/check',
      headers: { 'x-api-key': 'of the gateway', 'x-seen': '{client.ip}', 'x-line': '{method} {path}' }
    },
    routes: [page]
  })
  const cases: [wanted: number, status: number, text: string | RegExp][] = [
    [200, 200, 'hello'],
    [204, 200, 'hello'],
    [401, 401, 'status 401'],
    [403, 403, 'status 403'],
    [429, 429, 'status 429'],
    [302, 302, 'status 302'],
    [304, 503, /SP_ERR_ASK_UNAVAILABLE/],
    [404, 503, /SP_ERR_ASK_UNAVAILABLE/],
    [500, 503, /SP_ERR_ASK_UNAVAILABLE/],
    [600, 503, /SP_ERR_ASK_UNAVAILABLE/]
  ]
  for (const [wanted, status, text] of cases) {
    const answer = await app.inject({ url: '/a', headers: { 'x-wanted': String(wanted) } })
    t.equal(answer.statusCode, status, `${wanted}`)
    t.match(answer.body, text, `${wanted}: body`)
    if (status === 503) t.equal(answer.headers['retry-after'], '1', `${wanted}: when to retry`)
    if (status === 302) t.equal(answer.headers.location, 'https://captcha.test/')
    if ([401, 403, 429].includes(status)) {
      t.equal(answer.headers['x-reason'], 'banned', `${wanted}: headers of the service`)
      t.equal(answer.headers['x-secret'], undefined, `${wanted}: not those of its connection`)
      t.same([answer.headers['set-cookie']].flat(), ['seen=1'], `${wanted}: no session of the service`)
    }
  }
  t.test('it gets the headers of the request and those of the config, and no session', async (t) => {
    asked.length = 0
    const cookie = await cookieOf(app)
    await app.inject({
      method: 'POST',
      url: '/a?b=1',
      remoteAddress: '203.0.113.9',
      headers: {
        cookie: `${cookie}; theme=dark`,
        'x-api-key': 'of the client',
        x_api_key: 'of the client, too',
        'x-seen': '127.0.0.1',
        'x-forwarded-for': '127.0.0.1',
        'x-forwarded-uri': '/public'
      },
      payload: 'text'
    })
    t.match(asked.at(-1), {
      method: 'GET',
      url: '/check',
      'x-forwarded-method': 'POST',
      'x-forwarded-uri': '/a?b=1',
      'x-forwarded-for': '203.0.113.9',
      'x-api-key': 'of the gateway',
      'x-seen': '203.0.113.9',
      'x-line': 'POST /a',
      cookie: 'theme=dark'
    })
    t.notMatch(JSON.stringify(asked), 'of the client')
  })
})

t.test('"onFailure" decides where the service does not', async (t) => {
  const { url } = await service(t)
  const silent = createServer(() => {}).listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.teardown(() => silent.close())
  const places = {
    '/status': url,
    '/silent': `http://127.0.0.1:${(silent.address() as AddressInfo).port}`,
    '/closed': 'http://127.0.0.1:1'
  }
  const routes = Object.entries(places).flatMap(([path, upstream]) =>
    (['allow', 'deny'] as const).map((onFailure) => ({
      ...page,
      path: `${path}/${onFailure}`,
      ask: { upstream, onFailure, timeout: path === '/silent' ? '200ms' : '20s' }
    }))
  )
  const log = readableLog()
  const app = await gateway(t, { routes }, { log: log.log })
  for (const { path, ask } of routes) {
    const answer = await app.inject({ url: path, headers: { 'x-wanted': '500' } })
    t.equal(answer.statusCode, ask.onFailure === 'allow' ? 200 : 503, path)
    t.notMatch(answer.body, '127.0.0.1', path)
  }
  t.ok(log.lines.some(({ msg, status }) => msg === 'ask service gave no decision' && status === 500))
  t.ok(log.lines.some(({ msg }) => msg === 'ask service unavailable'))
  t.test('a refusal is one also then', async (t) => {
    const answer = await app.inject({ url: '/status/allow', headers: { 'x-wanted': '403' } })
    t.equal(answer.statusCode, 403)
  })
})

t.test('asks after the limit by address, and before any credential is looked at', async (t) => {
  const { url, asked } = await service(t)
  const app = await gateway(t, {
    ask: { upstream: url },
    rateLimit: { max: 3, also: { caller: { max: 1, by: 'caller' } } },
    auth: { users, basic: true },
    routes: [page, { ...page, path: '/off', ask: false }]
  })
  const wrong = { authorization: `Basic ${Buffer.from('ada:guess').toString('base64')}` }
  const codes: unknown[] = []
  for (const wanted of ['403', '200', '200', '200'])
    codes.push((await app.inject({ url: '/a', headers: { ...wrong, 'x-wanted': wanted } })).statusCode)
  t.same(codes, [403, 401, 401, 429])
  t.equal(asked.length, 3, 'a flood does not reach the service')
  await app.inject({ url: '/off', remoteAddress: '127.0.0.2' })
  t.equal(asked.length, 3)
})

t.test('reports instead of refusing in report mode', async (t) => {
  const { url } = await service(t)
  const log = readableLog()
  const app = await gateway(t, { ask: { upstream: url, mode: 'report' }, routes: [page] }, { log: log.log })
  for (const [wanted, code] of [
    ['403', 'SP_ERR_ASK_REFUSED'],
    ['500', 'SP_ERR_ASK_UNAVAILABLE']
  ] as const) {
    const answer = await app.inject({ url: '/a', headers: { 'x-wanted': wanted } })
    t.equal(answer.body, 'hello')
    t.match(JSON.stringify(await accessLogLine(log, answer)), code)
  }
})

t.test('asks about requests by HTTP/2, and proxies those that pass', { skip: noOpenssl }, async (t) => {
  const { url } = await service(t)
  const echoing = await upstream(t, echo)
  const { key, cert } = certificate(t)
  const files = t.testdir({ 'key.pem': key.toString(), 'cert.pem': cert.toString() })
  const { served } = await listening(t, {
    tls: { certificates: [{ key: `${files}/key.pem`, cert: `${files}/cert.pem` }] },
    ask: { upstream: url },
    routes: [{ path: '/*', proxy: { upstream: echoing } }]
  })
  const session = http2.connect(`https://localhost:${served.address.port}`, { ca: cert })
  t.teardown(() => session.destroy())
  const get = async (wanted: string): Promise<[unknown, string]> => {
    const stream = session.request({ ':path': '/x', 'x-wanted': wanted })
    const [head] = (await once(stream, 'response')) as [Record<string, unknown>]
    return [head[':status'], await text(stream)]
  }
  t.same(await get('403'), [403, 'status 403'])
  const [status, body] = await get('200')
  t.equal(status, 200)
  t.equal((JSON.parse(body) as Seen).url, '/x')
})

t.test('errors of the options', async (t) => {
  const cases: [object, RegExp][] = [
    [{}, /ask: .*upstream/],
    [{ upstream: 'crowdsek' }, /ask\.upstream: No upstream "crowdsek"; did you mean "crowdsec"\?/],
    [{ upstream: 'crowdsec', onFailure: 'ignore' }, /ask\.onFailure: .*allow.*deny/],
    [{ upstream: 'crowdsec', headers: { host: 'a' } }, /ask\.headers\.host: "host" frames the message/],
    [
      { upstream: 'crowdsec', headers: { 'x-a': '{caller.id}' } },
      /ask\.headers\.x-a: expected .*\{client\.ip\}/
    ],
    [{ upstream: 'crowdsec', headers: { 'x-a': 'a\r\nb: c' } }, /ask\.headers\.x-a: .*line break/]
  ]
  for (const [ask, message] of cases)
    await t.rejects(
      loadConfig({ upstreams: { crowdsec: { url: 'http://127.0.0.1:1' } }, ask, routes: [page] } as never, {
        SESSION_SECRET: SECRET
      }),
      { message },
      String(message)
    )
})
