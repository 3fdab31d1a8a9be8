import t from 'tap'
import { loadConfig } from '../../../src/index.ts'
import { gateway, SECRET, upstream } from '../../helpers.ts'

const target = await upstream(t, ({ url, method, headers }, response) => {
  response.end(JSON.stringify({ url, method, headers }))
})

/** A value that would end a string, a tag, a script, a parameter and a header field. */
const EVIL = `"'</script>&a=1#?\r\nset-cookie: x=1`
const URL_EVIL = `/v?q=${encodeURIComponent(EVIL).replaceAll("'", '%27')}`

/** The same for a path, where control characters and dot segments are refused. */
const EVIL_PATH = `"'</script>&a=1#?`

/** What a request sends, and the values that its templates read. */
const evil = {
  url: URL_EVIL,
  headers: {
    host: 'api.test:81',
    cookie: `evil=${encodeURIComponent(EVIL)}; path=${encodeURIComponent(EVIL_PATH)}`
  }
}

t.test('reads URL, method, scheme and cookies', async (t) => {
  const app = await gateway(t, {
    trustedProxies: ['loopback'],
    routes: [
      { path: '/*', respond: { body: '{method} {scheme} {url} {cookies.a}|{cookies.quoted}|{cookies.none}' } }
    ]
  })
  const cases: [name: string, request: object, body: string][] = [
    [
      'a plain one',
      { url: '/a?b=c', headers: { host: 'h:81', cookie: 'a=%7E; quoted="b c"' } },
      'GET http http://h:81/a?b=c ~|b c|'
    ],
    [
      'behind TLS',
      { url: '/a', headers: { host: 'h', 'x-forwarded-proto': 'https' } },
      'GET https https://h/a ||'
    ],
    ['a POST', { method: 'POST', url: '/', headers: { host: 'h' } }, 'POST http http://h/ ||'],
    ['a bad escape', { url: '/', headers: { host: 'h', cookie: 'a=%zz' } }, 'GET http http://h/ %zz||'],
    ['the first of two', { url: '/', headers: { host: 'h', cookie: 'a=1; a=2' } }, 'GET http http://h/ 1||']
  ]
  for (const [name, request, body] of cases) t.equal((await app.inject(request)).body, body, name)
  const known = await gateway(t, {
    publicUrl: 'https://api.example.com',
    routes: [{ path: '/*', respond: { body: '{url}' } }]
  })
  t.equal((await known.inject('/a?b')).body, 'https://api.example.com/a?b', 'the origin that browsers see')
})

t.test('encodes values in a URL', async (t) => {
  const app = await gateway(t, {
    routes: [
      { path: '/v', redirect: { to: '/login?rd={url}&c={cookies.evil}&m={method}' } },
      { path: '/host', redirect: { to: 'https://{host}/{cookies.path}' } },
      { path: '/dots', redirect: { to: '/{cookies.dots}/x' } },
      { path: '/up', proxy: { upstream: target, rewrite: '/{method}/{cookies.path}/{url}' } },
      { path: '/query', query: { u: '{url}', c: '{cookies.evil}' }, proxy: { upstream: target } },
      {
        path: '/link',
        respond: { headers: { 'content-type': 'text/html' }, body: '<a href="/login?rd={url}">' }
      }
    ]
  })
  const encodedEvil = encodeURIComponent(EVIL)
  const own = `http://api.test:81${URL_EVIL}`
  t.equal(
    (await app.inject(evil)).headers.location,
    `/login?rd=${encodeURIComponent(own)}&c=${encodedEvil}&m=GET&${URL_EVIL.slice(3)}`
  )
  t.equal(
    (await app.inject({ ...evil, url: '/host' })).headers.location,
    `https://api.test:81/${encodeURIComponent(EVIL_PATH)}`
  )
  for (const dots of ['..', 'a/../../b', '%2e%2e']) {
    const { statusCode } = await app.inject({ url: '/dots', headers: { cookie: `dots=${dots}` } })
    t.equal(statusCode, 400, `${dots} leads to no other path`)
  }
  const up = (await app.inject({ ...evil, url: '/up?x=1' })).json<{ url: string }>().url
  t.equal(up, `/GET/${encodeURIComponent(EVIL_PATH)}/${encodeURIComponent('http://api.test:81/up?x=1')}?x=1`)
  const query = (await app.inject({ ...evil, url: '/query' })).json<{ url: string }>().url
  t.equal(query, `/query?u=${encodeURIComponent('http://api.test:81/query')}&c=${encodedEvil}`)
  const link = await app.inject({ ...evil, url: '/link?a=1&b=2' })
  t.equal(link.body, `<a href="/login?rd=${encodeURIComponent('http://api.test:81/link?a=1&b=2')}">`)
})

t.test('escapes values in HTML, XML, JSON and headers', async (t) => {
  const bodies: [path: string, type: string, body: string, isSafe: (body: string) => boolean][] = [
    [
      '/html',
      'text/html',
      '<p title="{cookies.evil}">{cookies.evil}',
      (body) => body.split('<').length === 2
    ],
    [
      '/script',
      'text/html',
      '<script>a = "{cookies.evil}"</script>',
      (body) => body.split('</script>').length === 2
    ],
    ['/xml', 'application/xml', '<a>{cookies.evil}</a>', (body) => body.split('<').length === 3],
    [
      '/json',
      'application/json',
      '{{"a": "{cookies.evil}", "b": {cookies.evil}}}',
      (body) => {
        const { a, b } = JSON.parse(body) as Record<string, unknown>
        return a === EVIL && b === EVIL && !body.includes('</script>')
      }
    ]
  ]
  const app = await gateway(t, {
    routes: [
      ...bodies.map(([path, type, body]) => ({ path, respond: { headers: { 'content-type': type }, body } })),
      {
        path: '/headers',
        headers: {
          request: { 'x-a': '{cookies.evil}', 'x-u': '{url}' },
          response: { 'x-a': '{cookies.evil}' }
        },
        proxy: { upstream: target }
      }
    ]
  })
  for (const [url, , , isSafe] of bodies) {
    const { body } = await app.inject({ ...evil, url })
    t.ok(isSafe(body), `${url}: ${body}`)
  }
  const answer = await app.inject({ ...evil, url: '/headers' })
  t.equal(answer.headers['set-cookie'], undefined)
  t.equal(answer.headers['x-a'], EVIL.replaceAll(/[\r\n]/g, ''))
  const { headers } = answer.json<{ headers: Record<string, string> }>()
  t.match(headers, {
    'x-a': EVIL.replaceAll(/[\r\n]/g, ''),
    'x-u': 'http://api.test:81/headers',
    'set-cookie': undefined
  })
})

t.test('never gives away the cookies of sessions and log-ins', async (t) => {
  const app = await gateway(
    t,
    {
      session: { cookie: { name: 'sid' } },
      auth: { session: true, optional: true, users: { list: [{ name: 'ada', secret: 'lovelace' }] } },
      routes: [{ path: '/', respond: { body: '{cookies.sid}|{cookies.sallyport-login-x}|{cookies.a}' } }]
    },
    { env: { SESSION_SECRET: SECRET } }
  )
  const headers = { cookie: 'sid=secret; sallyport-login-x=secret; a=1' }
  t.equal((await app.inject({ url: '/', headers })).body, '||1')
})

t.test('refuses values where they are not known', async (t) => {
  const cases: [name: string, route: object, message: RegExp][] = [
    [
      'a cookie without a name',
      { respond: { body: '{cookies}' } },
      /expected \{cookies\.name\}, got "\{cookies\}"/
    ],
    ['a part of a URL', { respond: { body: '{url.path}' } }, /expected \{url\}, got "\{url\.path\}"/],
    ['an unknown one', { respond: { body: '{verb}' } }, /\{method\}, \{scheme\}/],
    ['a URL as the host', { redirect: { to: 'https://{cookies.host}/' } }, /got "\{cookies\.host\}"/],
    ['a token', { respond: { body: '{caller.accessToken}' } }, /got "\{caller\.accessToken\}"/]
  ]
  for (const [name, route, message] of cases)
    await t.rejects(loadConfig({ routes: [{ path: '/', ...route }] }, {}), { message }, name)
})
