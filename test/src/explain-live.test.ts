import t, { type Test } from 'tap'
import type { Explanation } from '../../src/explain/explanation.ts'
import { signExplain } from '../../src/explain/signature.ts'
import { stage } from '../admin.ts'
import { ask, running, upstream } from '../helpers.ts'

const TOKEN = 'an-admin-token-of-the-test'
const now = (): number => Math.floor(Date.now() / 1000)
const bearer = { authorization: `Bearer ${TOKEN}` }

const signed = (seconds = now(), key = TOKEN): Record<string, string> => ({
  'sallyport-explain': signExplain(key, seconds)
})

async function explanationOf(admin: string, id: string | null): Promise<Explanation> {
  return JSON.parse((await ask(`${admin}/explain/${id}`, { headers: bearer })).text) as Explanation
}

const echoing = (t: Test): Promise<string> =>
  upstream(t, (request, response) => response.end(JSON.stringify(request.headers)))

t.test('a signed request is explained on the admin listener, and others are not', async (t) => {
  const orders = await echoing(t)
  const { admin, url, engine, write, lines } = await stage(
    t,
    {
      upstreams: { orders: { url: orders } },
      ipAccess: { allow: ['loopback'] },
      routes: [{ name: 'orders', path: '/orders/*', proxy: { upstream: 'orders', rewrite: '/v2/' } }]
    },
    { token: TOKEN }
  )
  await t.test('with its gates and the request that the upstream got', async (t) => {
    const { status, headers, text } = await ask(`${url}/orders/%31?q=1`, {
      headers: { ...signed(), 'x-own': 'a' }
    })
    t.equal(status, 200)
    t.notMatch(text, 'sallyport-explain', 'the signature goes no further')
    const found = await explanationOf(admin, headers.get('sallyport-trace'))
    t.match(found, {
      version: 1,
      verdict: 'forwarded',
      status: 200,
      request: { method: 'GET', url: '/orders/%31?q=***', from: '127.0.0.1' },
      route: { name: 'orders' },
      upstreams: [{ upstream: 'orders', method: 'GET', url: `${orders}/v2/1?q=***` }],
      assumes: []
    })
    t.match(
      found.gates.filter(({ gate }) => gate === 'ipAccess'),
      [{ verdict: 'passed', options: [{ option: 'ipAccess.allow', level: 'root' }, {}, {}] }]
    )
    t.equal(found.upstreams[0]?.headers.find(({ name }) => name === 'x-own')?.by, null)
  })
  await t.test('a refusal of the router', async (t) => {
    const { status, headers } = await ask(`${url}/else`, { headers: signed() })
    t.equal(status, 404)
    const found = await explanationOf(admin, headers.get('sallyport-trace'))
    t.match(found, { verdict: 'refused', status: 404, code: 'SP_ERR_ROUTE_UNKNOWN', route: null })
  })
  await t.test('ignored silently: without a signature, with an old, a future or a wrong one', async (t) => {
    const before = JSON.parse((await ask(`${admin}/explain`, { headers: bearer })).text) as unknown[]
    const [time, hmac = ''] = signExplain(TOKEN, now()).split('.')
    const ignored: Record<string, string>[] = [
      {},
      signed(now() - 62),
      signed(now() + 30),
      signed(now(), 'another key'),
      signed(now(), ''),
      ...[
        `${now()}.${'0'.repeat(64)}`,
        `${time}.${hmac.toUpperCase()}`,
        `${time}.${hmac}0`,
        `${time}.${hmac.slice(1)}`,
        `0${time}.${hmac}`,
        `${time}.${hmac}, ${time}.${hmac}`,
        `${time}.`,
        hmac,
        '1',
        ''
      ].map((value) => ({ 'sallyport-explain': value }))
    ]
    for (const headers of ignored) {
      const response = await ask(`${url}/orders/1`, { headers })
      t.equal(response.status, 200)
      t.equal(response.headers.get('sallyport-trace'), null, String(headers['sallyport-explain']))
    }
    t.equal(
      (JSON.parse((await ask(`${admin}/explain`, { headers: bearer })).text) as unknown[]).length,
      before.length
    )
    const logged = JSON.stringify(lines)
    t.match(logged, '/orders/1')
    t.notMatch(logged, TOKEN)
    t.notMatch(logged, hmac)
  })
  await t.test('after a reload, by the new config', async (t) => {
    write({ routes: [{ name: 'new', path: '/orders/*', respond: { status: 202, body: 'new' } }] })
    t.equal((await engine.reload('the test')).outcome, 'taken')
    const { status, headers } = await ask(`${url}/orders/1`, { headers: signed() })
    t.equal(status, 202)
    t.match(await explanationOf(admin, headers.get('sallyport-trace')), {
      verdict: 'answered',
      route: { name: 'new' }
    })
  })
  await t.test('an unknown id', async (t) => {
    const { status, text } = await ask(`${admin}/explain/none`, { headers: bearer })
    t.equal(status, 404)
    t.match(text, 'SP_ERR_ADMIN_TRACE')
    t.equal((await ask(`${admin}/explain/none`)).status, 401)
  })
})

t.test('without ADMIN_TOKEN nothing is explained', async (t) => {
  const { admin, url } = await stage(t, { routes: [{ path: '/*', respond: { body: 'here' } }] })
  for (const key of ['', 'undefined', TOKEN]) {
    const { status, headers } = await ask(url, { headers: signed(now(), key) })
    t.equal(status, 200)
    t.equal(headers.get('sallyport-trace'), null)
  }
  t.strictSame(JSON.parse((await ask(`${admin}/explain`)).text), [])
})

t.test('POST /explain explains a request that nobody sent', async (t) => {
  const { admin } = await stage(
    t,
    {
      auth: {
        apiKeys: { list: [{ id: 'x', secret: 'a-secret-of-the-test-alone-123456' }] },
        require: { roles: ['staff'] }
      },
      routes: [{ name: 'orders', path: '/orders/*', proxy: { upstream: 'http://10.0.0.1' } }]
    },
    { token: TOKEN }
  )
  const post = async (body: unknown, headers = bearer): Promise<{ status: number; text: string }> =>
    ask(`${admin}/explain`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body: typeof body === 'string' ? body : JSON.stringify(body)
    })
  const cases: [question: object, expected: object][] = [
    [{ url: '/orders/1' }, { status: 401, code: 'SP_ERR_AUTH_MISSING' }],
    [{ url: '/orders/1', as: { id: 'ada', roles: [] } }, { status: 403 }],
    [{ method: 'PUT', url: '/orders/1', as: { id: 'ada', roles: ['staff'] } }, { verdict: 'forwarded' }],
    [
      { url: '/orders/1', headers: { 'x-api-key': 'wrong' } },
      { status: 401, code: 'SP_ERR_AUTH_WRONG' }
    ]
  ]
  for (const [question, expected] of cases)
    t.match(JSON.parse((await post(question)).text), expected, JSON.stringify(question))
  const invalid: [question: unknown, message: RegExp][] = [
    [{}, /expected a \\"url\\"/],
    [{ url: 'x' }, /expected a \\"url\\"/],
    [{ url: '/a', method: 'G T' }, /expected a \\"method\\"/],
    [{ url: '/a', from: 'here' }, /expected an IP address/],
    [{ url: '/a', headers: { a: 'b\r\nc: d' } }, /expected \\"headers\\"/],
    [{ url: '/a', as: { roles: [] } }, /expected an object with an \\"id\\"/],
    [{ url: '/a', as: 'ada' }, /expected an object with an \\"id\\"/],
    [
      `{"url": "/a", "as": {"id": "ada", "claims": ${'['.repeat(1e5)}${']'.repeat(1e5)}}}`,
      /at most 32 levels/
    ],
    [{ url: '/a', forward: 99 }, /expected a status/],
    [{ url: '/a', forward: '401' }, /expected a status/],
    [{ url: ['/a'] }, /expected a \\"url\\"/],
    [{ url: '/a\r\nHost: b' }, /expected a \\"url\\"/],
    [{ url: '/a', method: 'GET / HTTP/1.1\r\nA:' }, /expected a \\"method\\"/],
    [{ url: '/a', headers: ['a'] }, /expected \\"headers\\"/],
    [{ url: '/a', headers: { 'a: b\r\nc': 'd' } }, /expected \\"headers\\"/],
    [{ url: '/a', headers: { a: 1 } }, /expected \\"headers\\"/],
    [{ url: '/a', body: {} }, /expected a text in \\"body\\"/],
    [{ url: '/a', forwrad: 401 }, /unknown \\"forwrad\\"; expected method, url/],
    [[], /expected a JSON object/],
    ['null', /expected a JSON object/],
    ['{"url": "/a", "__proto__": {}}', /SP_ERR_REQUEST_REFUSED/],
    ['{"url": "/a", "constructor": {"prototype": {}}}', /SP_ERR_REQUEST_REFUSED/],
    ['{', /SP_ERR_REQUEST_REFUSED/]
  ]
  for (const [question, message] of invalid) {
    const { status, text } = await post(question)
    t.equal(status, 400, JSON.stringify(question).slice(0, 80))
    t.match(text, message)
  }
  t.equal((await post({ url: '/a', body: 'a'.repeat(2e6) })).status, 413)
  const named = await post({
    url: '/constructor/__proto__',
    headers: { constructor: 'a', hasownproperty: 'b' },
    as: { id: 'constructor', roles: ['__proto__'] }
  })
  t.match(JSON.parse(named.text), { status: 404, code: 'SP_ERR_ROUTE_UNKNOWN' })
  for (const authorization of ['Bearer wrong', ''])
    t.equal((await post({ url: '/orders/1' }, { authorization })).status, 401)
  const many = await Promise.all(Array.from({ length: 15 }, () => post({ url: '/orders/1' })))
  t.equal(many.filter(({ status }) => status === 200).length, 10)
  t.equal(many.filter(({ status }) => status === 503).length, 5)
  t.match(many.find(({ status }) => status === 503)?.text, 'SP_ERR_ADMIN_BUSY')
  t.equal((await post({ url: '/orders/1' })).status, 200, 'the next one finds a place')
})

t.test('with several workers, whichever has handled the request', async (t) => {
  const cwd = t.testdir({
    'gateway.json': JSON.stringify({ routes: [{ name: 'here', path: '/*', respond: { body: 'here' } }] })
  })
  const env = { WORKERS: '2', ADMIN_PORT: '0', ADMIN_TOKEN: TOKEN }
  const gateway = await running(t, [], { cwd, env })
  const { admin } = (await gateway.line((line) => line['admin'] !== undefined)) as { admin: string }
  const ids = new Set<string | null>()
  for (let i = 0; i < 6; i++)
    ids.add(
      (await ask(gateway.url, { headers: { ...signed(), connection: 'close' } })).headers.get(
        'sallyport-trace'
      )
    )
  t.equal(ids.size, 6)
  for (const id of ids)
    t.match(await explanationOf(admin, id), { verdict: 'answered', route: { name: 'here' } })
})
