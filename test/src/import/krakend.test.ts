import { generateKeyPairSync } from 'node:crypto'
import { join } from 'node:path'
import { SignJWT } from 'jose'
import t from 'tap'
import { catalog } from '../../../src/gateway/catalog.ts'
import { importFile } from '../../../src/import/index.ts'
import { expectAll, translated } from './translated.ts'

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const KEYS = JSON.stringify({ keys: [publicKey.export({ format: 'jwk' })] })

const token = (claims: Record<string, unknown>, audience = 'api'): Promise<string> =>
  new SignJWT(claims)
    .setProtectedHeader({ alg: 'ES256' })
    .setIssuer('https://id.example.com')
    .setAudience(audience)
    .setExpirationTime('5m')
    .sign(privateKey)

t.test('endpoints and backends of KrakenD answer as in KrakenD', async (t) => {
  const made = await translated(t, 'krakend', 'krakend-shop.json', { 'jwks.json': KEYS })
  const { app } = made
  const json = { 'content-type': 'application/json' }
  const staff = `Bearer ${await token({ sub: 'ada', tenant: 'acme', roles: ['staff'] })}`
  const customer = `Bearer ${await token({ sub: 'bob', tenant: 'acme', roles: ['customer'] })}`
  const elsewhere = `Bearer ${await token({ sub: 'ada', tenant: 'acme', roles: ['staff'] }, 'other')}`
  await expectAll(t, made, [
    {
      url: '/users/7?page=2&debug=1',
      headers: { authorization: 'Bearer x', cookie: 'a=b', 'x-trace': 'a', 'x-region': 'b' },
      status: 200,
      path: '/v1/people/7?page=2&source=gateway',
      gets: { authorization: undefined, cookie: undefined, 'x-trace': undefined, 'x-region': 'b' },
      has: { 'cache-control': 'public, max-age=60' }
    },
    { url: '/users/7', method: 'POST', status: 405 },
    { url: '/users', status: 404 },
    { url: '/staff', status: 401 },
    { url: '/staff', headers: { authorization: elsewhere }, status: 401 },
    { url: '/staff', headers: { authorization: customer }, status: 403 },
    {
      url: '/staff?x=1',
      headers: { authorization: staff, 'x-user': 'root' },
      status: 200,
      path: '/staff/acme',
      gets: { authorization: staff, 'x-user': 'ada', 'x-tenant': 'acme' }
    },
    { url: '/merged', status: 200, body: '{"url":"/a","method":"GET"}' },
    { url: '/chain/7', status: 200, body: '{"first":{"method":"GET"},"then":{"url":"/second/GET"}}' },
    { url: '/cel', status: 403 },
    { url: '/flatmap', status: 403 },
    { url: '/queue', status: 403 },
    {
      url: '/merged',
      headers: { origin: 'https://app.example.com' },
      status: 200,
      has: { 'access-control-allow-origin': 'https://app.example.com' }
    }
  ])
  const post = (payload: string) =>
    app.inject({ method: 'POST', url: '/orders?a=b', headers: { ...json, cookie: 'a=b' }, payload })
  t.equal((await post('{"price":1}')).statusCode, 400, 'the body does not match the schema')
  const order = await post('{"item":"x"}')
  t.match(JSON.parse(order.body), { url: '/orders?a=b', body: '{"item":"x"}', headers: { cookie: 'a=b' } })
  t.equal((await post('{"item":"x"}')).statusCode, 429, 'a client has two requests')
  const customers = JSON.parse((await app.inject('/customers/7')).body) as Record<
    string,
    Record<string, unknown>
  >
  t.match(customers['backend1'], { path: '/a/7', method: 'GET' })
  t.notOk('headers' in (customers['backend1'] ?? {}), 'only what is allowed')
  t.match(customers['second'], { url: '/b/7' })
  t.notOk('body' in (customers['second'] ?? {}), 'nothing that is denied')
  t.notMatch(JSON.parse((await app.inject('/target')).body), { url: '/t' })
  const martian = JSON.parse(
    (await app.inject({ url: '/martian', headers: { 'x-debug': '1', authorization: 'x' } })).body
  ) as {
    headers: Record<string, unknown>
  }
  t.match(martian.headers, { 'x-source': 'gateway', 'x-debug': undefined, authorization: undefined })
  t.match(made.text, /"only": \["x-region"\]/)
})

t.test('what could refuse requests and has no translation closes its endpoints', async (t) => {
  const endpoint = (extra: object, backend: object = {}, root: object = {}): string =>
    `${JSON.stringify({
      version: 3,
      endpoints: [
        {
          endpoint: '/x',
          extra_config: extra,
          backend: [{ host: ['127.0.0.1:4001'], url_pattern: '/x', ...backend }]
        }
      ],
      ...root
    })}\n`
  const cases: readonly [what: string, source: string][] = [
    ['an unknown entry of an endpoint', endpoint({ 'plugin/req-resp-modifier': { name: ['guard'] } })],
    [
      'an unknown entry of a backend',
      endpoint({}, { extra_config: { 'modifier/lua-backend': { pre: 'x' } } })
    ],
    [
      'an unknown entry of the root',
      endpoint({}, {}, { extra_config: { 'security/bot-detector': { deny: ['a'] } } })
    ],
    ['an old name', endpoint({ 'github.com/devopsfaith/krakend-cel': [] })],
    ['a validator without keys', endpoint({ 'auth/validator': { alg: 'RS256' } })],
    [
      'an unknown option of a validator',
      endpoint({ 'auth/validator': { jwk_url: 'https://a.example/j', revoke: true } })
    ],
    [
      'a limit by a parameter',
      endpoint({ 'qos/ratelimit/router': { client_max_rate: 1, strategy: 'param', key: 'a' } })
    ],
    [
      'an unknown modifier',
      endpoint({}, { extra_config: { 'modifier/martian': { 'body.Modifier': { scope: ['request'] } } } })
    ],
    ['a pattern with an unknown value', endpoint({}, { url_pattern: '/{resp3_id}' })],
    ['a shadow', endpoint({}, { extra_config: { proxy: { shadow: true } } })]
  ]
  for (const [what, source] of cases)
    t.test(what, async (t) => {
      const made = await translated(t, 'krakend', source)
      await expectAll(t, made, [{ url: '/x', status: 403 }])
      t.match(made.text, /closed until you have translated it/)
    })
})

t.test('version 2, hosts and secrets', async (t) => {
  const file = join(
    t.testdir({
      'krakend.json': JSON.stringify({
        version: 2,
        endpoints: [
          {
            endpoint: '/x',
            headers_to_pass: ['*'],
            querystring_params: ['*'],
            extra_config: {
              'github.com/devopsfaith/krakend-jose/validator': {
                alg: 'RS256',
                'jwk-url': 'https://id.example/jwks'
              },
              'github.com/devopsfaith/krakend-ratelimit/juju/router': { maxRate: 5 }
            },
            output_encoding: 'no-op',
            backend: [
              {
                host: ['http://a.internal/', 'http://b.internal', 'http://b.internal'],
                url_pattern: '/x',
                extra_config: {
                  'github.com/devopsfaith/krakend-martian': {
                    'header.Modifier': { scope: ['request'], name: 'Authorization', value: 'Basic c2VjcmV0' }
                  }
                }
              }
            ]
          }
        ]
      })
    }),
    'krakend.json'
  )
  const { text } = await importFile('krakend', file, catalog)
  t.match(text, '"targets": ["http://a.internal", { "url": "http://b.internal", "weight": 2 }]')
  t.match(text, `"authorization": "\${HEADER_AUTHORIZATION}"`)
  t.notMatch(text, /c2VjcmV0/)
})

t.test('flexible configuration of the environment, and keys that are shared or in the network', async (t) => {
  const endpoint = (path: string, validator: object): object => ({
    endpoint: path,
    output_encoding: 'no-op',
    input_headers: ['X-A', 'X-B'],
    extra_config: { 'auth/validator': validator },
    backend: [{ host: ['{{ env `ORDERS_URL` }}'], url_pattern: path, input_headers: ['X-A'] }]
  })
  const source = JSON.stringify({
    version: 3,
    async_agent: [],
    endpoints: [
      endpoint('/shared', { alg: 'HS256', jwk_local_path: 'shared.json' }),
      endpoint('/network', {
        alg: 'RS256',
        issuer: 'https://id.example.com/{{ env "TENANT" }}',
        jwk_url: 'http://keycloak:8080/realms/a/certs'
      })
    ]
  }).replaceAll('\\"TENANT\\"', '\\"TENANT\\"')
  const file = join(t.testdir({ 'krakend.json': source }), 'krakend.json')
  const { text, translation } = await importFile('krakend', file, catalog)
  for (const part of [
    /"ORDERS_URL": \{ "url": "\$\{ORDERS_URL\}" \}/,
    /"issuer": "https:\/\/id\.example\.com\/\$\{TENANT\}"/,
    /"secret": "\$\{JWT_SECRET\}"/,
    /"jwks": \{ "upstream": "keys-keycloak-8080", "path": "\/realms\/a\/certs" \}/,
    /"only": \["x-a"\]/
  ])
    t.match(text, part)
  t.strictSame(translation.notes, [])
})

t.test('a listed header that is never forwarded is noted', async (t) => {
  const backend = { host: ['http://a.example.com'], url_pattern: '/a', input_headers: ['Proxy'] }
  const listing = { output_encoding: 'no-op', input_headers: ['Host', 'X-A', 'connection'] }
  const config = {
    version: 3,
    endpoints: [
      { endpoint: '/one', ...listing, backend: [backend] },
      {
        endpoint: '/near',
        output_encoding: 'no-op',
        input_headers: ['X-Host', '*'],
        backend: [{ ...backend, input_headers: [] }]
      },
      {
        endpoint: '/two',
        ...listing,
        output_encoding: 'json',
        backend: [backend, { ...backend, group: 'b' }]
      }
    ]
  }
  const file = join(t.testdir({ 'krakend.json': JSON.stringify(config, null, 1) }), 'krakend.json')
  const { text, translation } = await importFile('krakend', file, catalog)
  const never = (name: string): string => `input_headers ${name}, which is never forwarded`
  const noted = [`${never('Host')}; "preserveHost": true of "proxy" forwards it`, never('connection')]
  const found = translation.notes.map((note) => note.text)
  t.strictSame(
    found.filter((each) => each.startsWith('input_headers')),
    [...noted, never('Proxy'), ...noted, never('Proxy'), never('Proxy')]
  )
  t.match(text, /not translated: input_headers Host/)
  t.match(text, /"only": \["x-a"\]/)
})

t.test('a source that is no config of KrakenD is an error with its place', async (t) => {
  const cwd = t.testdir({ 'a.json': '{"endpoints": [\n{{ template "x" }}]}', 'b.json': '{"version": 3}' })
  for (const [file, message] of [
    ['a.json', /a\.json:2:\d+ This is not JSON/],
    ['b.json', /b\.json: expected a config of KrakenD/]
  ] as const)
    await t.rejects(importFile('krakend', join(cwd, file), catalog), { name: 'ImportError', message })
})
