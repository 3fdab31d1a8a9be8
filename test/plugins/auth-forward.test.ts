import type { IncomingHttpHeaders } from 'node:http'
import t from 'tap'
import { loadConfig } from '../../src/index.ts'
import { gateway, type Scope, type Seen, upstream } from '../helpers.ts'

const page = { path: '/app/*', respond: { body: '{caller.id}' } }
const load = { 'sec-fetch-mode': 'navigate' }

/** A service that knows the users with a cookie of it. */
async function service(t: Scope, asked: IncomingHttpHeaders[] = []): Promise<string> {
  return upstream(t, (request, response) => {
    asked.push(request.headers)
    const known = request.headers.cookie?.includes('user=ada') === true
    response.setHeader('www-authenticate', 'Service')
    response.writeHead(known ? 200 : request.headers['x-banned'] === undefined ? 401 : 403, {
      'x-user': 'ada'
    })
    response.end(known ? undefined : 'who are you?')
  })
}

t.test(
  'sends page loads that the service answers with 401 to its log-in, and everything else the 401',
  async (t) => {
    const url = await service(t)
    const forward = { upstream: url, caller: { id: 'x-user' } }
    const signIns: [signIn: string, config: object, location: string][] = [
      ['/oauth2/start', {}, '/oauth2/start?return_to=%2Fapp%2Fa%3Fb%3D1%26c%3D2'],
      ['/oauth2/start?rd=', {}, '/oauth2/start?rd=%2Fapp%2Fa%3Fb%3D1%26c%3D2'],
      ['/start?tenant=a', {}, '/start?tenant=a&return_to=%2Fapp%2Fa%3Fb%3D1%26c%3D2'],
      [
        'https://id.test/?rd=',
        { publicUrl: 'https://shop.test' },
        'https://id.test/?rd=https%3A%2F%2Fshop.test%2Fapp%2Fa%3Fb%3D1%26c%3D2'
      ]
    ]
    for (const [signIn, config, location] of signIns)
      t.test(signIn, async (t) => {
        const app = await gateway(t, { ...config, auth: { forward: { ...forward, signIn } }, routes: [page] })
        const get = (headers: Record<string, string>) => app.inject({ url: '/app/a?b=1&c=2', headers })
        const sent = await get(load)
        t.equal(sent.statusCode, 303)
        t.equal(sent.headers.location, location)
        t.equal(sent.headers['cache-control'], 'no-store')
        const fetched = await get({ 'sec-fetch-mode': 'cors' })
        t.equal(fetched.statusCode, 401, 'a fetch')
        t.equal(fetched.body, 'who are you?')
        t.equal(fetched.headers['www-authenticate'], 'Service')
        t.equal((await get({})).statusCode, 401, 'a program')
        t.equal((await get({ ...load, 'x-banned': '1' })).statusCode, 403, 'another refusal')
        t.equal((await get({ ...load, cookie: 'user=ada' })).body, 'ada')
      })
    t.test('not from the log-in itself, which would loop', async (t) => {
      const app = await gateway(t, { auth: { forward: { ...forward, signIn: '/app/in' } }, routes: [page] })
      t.equal((await app.inject({ url: '/app/in?return_to=%2F', headers: load })).statusCode, 401)
    })
    t.test('"challenge" has the last word', async (t) => {
      const auth = { forward: { ...forward, signIn: '/in' } }
      const app = await gateway(t, {
        auth: { ...auth, challenge: 'status' },
        routes: [page]
      })
      t.equal((await app.inject({ url: '/app/a', headers: load })).statusCode, 401)
    })
  }
)

t.test('adds the headers of the config to the question, whatever a client sends', async (t) => {
  const asked: IncomingHttpHeaders[] = []
  const app = await gateway(t, {
    auth: {
      forward: {
        upstream: await service(t, asked),
        headers: {
          'X-Service-Key': 'of the gateway',
          'x-tenant': '{params.tenant}',
          'x-none': '{query.none}'
        }
      }
    },
    routes: [{ path: '/:tenant/*', respond: { body: 'ok' } }]
  })
  await app.inject({
    url: '/acme/a',
    headers: {
      'x-service-key': 'forged',
      x_service_key: 'forged',
      'x-tenant': 'evil',
      'x-none': 'forged',
      accept: 'a'
    }
  })
  t.match(asked[0], { 'x-service-key': 'of the gateway', 'x-tenant': 'acme', accept: 'a' })
  t.equal(asked[0]?.['x-none'], undefined)
  t.notMatch(JSON.stringify(asked), 'forged')
})

t.test('copies no field back that belongs to the message, the connection or the session', async (t) => {
  const url = await upstream(t, (_request, response) => {
    response.writeHead(200, {
      'set-cookie': ['sid=stolen; Path=/', 'renewed=1; Path=/'],
      'x-renewed': 'yes',
      connection: 'x-hop',
      'x-hop': 'of the connection',
      location: 'https://evil.test/'
    })
    response.end()
  })
  const app = await gateway(t, {
    auth: {
      session: true,
      users: { list: [{ name: 'ada', secret: 'lovelace' }] },
      forward: { upstream: url, copyBack: ['Set-Cookie', 'x-renewed', 'x-hop', '__proto__', 'constructor'] }
    },
    routes: [page]
  })
  const { statusCode, headers } = await app.inject('/app/a')
  t.equal(statusCode, 200)
  t.same([headers['set-cookie']].flat(), ['renewed=1; Path=/'])
  t.equal(headers['x-renewed'], 'yes')
  t.equal(headers['x-hop'], undefined)
  t.equal(headers.location, undefined, 'not named')
})

t.test('reads what the service says of the caller as UTF-8, else as ISO 8859-1', async (t) => {
  const cases: [bytes: Buffer, id: string][] = [
    [Buffer.from('Łukasz'), '%C5%81ukasz'],
    [Buffer.from('Zoë', 'latin1'), 'Zo%C3%AB'],
    [Buffer.from('ada'), 'ada']
  ]
  for (const [bytes, id] of cases) {
    const value = bytes.toString('latin1')
    const url = await upstream(t, (_request, response) => {
      response.writeHead(200, { 'x-user': value, 'x-roles': Buffer.from('Ärzte').toString('latin1') }).end()
    })
    const app = await gateway(t, {
      auth: {
        forward: { upstream: url, copy: ['x-user'], caller: { id: 'x-user', roles: 'x-roles' } },
        identity: { 'x-id': 'id' },
        require: { roles: ['Ärzte'] }
      },
      routes: [{ path: '/*', proxy: { upstream: await upstream(t) } }]
    })
    const { headers } = (await app.inject('/a')).json<Seen>()
    t.equal(headers['x-id'], id)
    t.equal(headers['x-user'], value, 'the copy has the same bytes')
  }
})

t.test('errors of the options', async (t) => {
  const cases: [object, RegExp][] = [
    [
      { signIn: '//evil.test/' },
      /auth\.forward\.signIn: expected a path such as "\/oauth2\/start", or a URL/
    ],
    [{ signIn: 'javascript:alert(1)' }, /auth\.forward\.signIn/],
    [{ headers: { connection: 'x' } }, /auth\.forward\.headers\.connection: .*frames the message/],
    [{ copyBack: ['content-length'] }, /auth\.forward\.copyBack\[0\]/],
    [{ copyBack: ['transfer-encoding'] }, /auth\.forward\.copyBack\[0\]/],
    [{ copyBack: ['x a'] }, /auth\.forward\.copyBack\[0\]/],
    [{ copyBack: ['x\r\ny'] }, /auth\.forward\.copyBack\[0\]/]
  ]
  for (const [changed, message] of cases)
    await t.rejects(
      loadConfig(
        { auth: { forward: { upstream: 'http://127.0.0.1:1', ...changed } }, routes: [page] } as never,
        {}
      ),
      { message },
      String(message)
    )
})
