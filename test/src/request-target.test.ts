import t from 'tap'
import { listening, raw, type Seen, statusOf, upstream } from '../helpers.ts'
import { bytes, codeOf, headOf, textOf } from '../raw-http.ts'

t.test('a request target that is not a path', async (t) => {
  const { port } = await listening(t, {
    routes: [
      { path: '/*', proxy: { upstream: await upstream(t), preserveHost: true } },
      { path: '/*', host: 'api.test', respond: { body: 'api {host} {path}' } }
    ]
  })

  t.test('in absolute form is accepted, and its authority replaces Host', async (t) => {
    const cases: [target: string, host: string, url: string, seenHost: string][] = [
      ['http://web.test/a?b=c', 'api.test', '/a?b=c', 'web.test'],
      ['https://web.test:8443/a', 'api.test', '/a', 'web.test:8443'],
      ['HTTP://web.test/a%2Fb', 'api.test', '/a%2Fb', 'web.test'],
      ['http://web.test', 'api.test', '/', 'web.test'],
      ['http://web.test?b=c', 'api.test', '/?b=c', 'web.test']
    ]
    for (const [target, host, url, seenHost] of cases) {
      const answer = await raw(port, bytes(target, { host }))
      t.equal(statusOf(answer), 200, target)
      const seen = JSON.parse(textOf(answer)) as Seen
      t.equal(seen.url, url, target)
      t.equal(seen.headers['host'], seenHost, target)
      t.equal(seen.headers['x-forwarded-host'], seenHost, target)
    }
    t.equal(textOf(await raw(port, bytes('http://API.test/x', { host: 'web.test' }))), 'api API.test /x')
  })

  t.test('in any other form is refused', async (t) => {
    for (const target of [
      '*',
      'web.test:80',
      'ftp://web.test/',
      'ws://web.test/',
      'file:///etc/passwd',
      'http:/a',
      'a'
    ])
      for (const method of ['GET', 'OPTIONS'])
        t.equal(statusOf(await raw(port, bytes(target, { method }))), 400, `${method} ${target}`)
  })

  t.test('with a malformed authority is refused', async (t) => {
    for (const target of [
      'http:///a',
      'http://user@web.test/',
      'http://user:pass@web.test/',
      'http://web.test:99999999/',
      'http://we%62.test/',
      'http://a b/'
    ])
      t.equal(statusOf(await raw(port, bytes(target))), 400, target)
  })
})

t.test('the Host header', async (t) => {
  const { port } = await listening(t, { routes: [{ path: '/*', respond: { body: 'taken' } }] })
  const cases: [name: string, lines: string[], status: number][] = [
    ['one is what it takes', ['Host: web.test'], 200],
    ['with a port', ['Host: web.test:8080'], 200],
    ['an address', ['Host: 127.0.0.1'], 200],
    ['an IPv6 address', ['Host: [::1]:80'], 200],
    ['missing', [], 400],
    ['twice', ['Host: web.test', 'Host: web.test'], 400],
    ['twice, in other spellings', ['hOST: web.test', 'Host: api.test'], 400],
    ['empty', ['Host: '], 400],
    ['with a path', ['Host: web.test/x'], 400],
    ['with a user', ['Host: me@web.test'], 400],
    ['with a space', ['Host: web test'], 400],
    ['with a list', ['Host: web.test, api.test'], 400],
    ['with a port that is none', ['Host: web.test:http'], 400],
    ['with an empty label', ['Host: .'], 400],
    ['of two final dots', ['Host: web.test..'], 400]
  ]
  for (const [name, lines, status] of cases)
    t.test(name, async (t) => {
      const answer = await raw(port, ['GET / HTTP/1.1', ...lines, 'Connection: close', '', ''].join('\r\n'))
      t.equal(statusOf(answer), status)
      t.equal(textOf(answer) === 'taken', status === 200)
    })

  t.test('a repeated one is refused with problem+json', async (t) => {
    const answer = await raw(
      port,
      'GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\nConnection: close\r\n\r\n'
    )
    t.equal(codeOf(answer), 'SP_ERR_PATHS_HOST')
    t.equal(headOf(answer, 'content-type'), 'application/problem+json')
    t.match(headOf(answer, 'x-request-id'), /\S/)
  })
})

t.test('the HTTP version of a request', async (t) => {
  const { port } = await listening(t, { routes: [{ path: '/*', respond: { body: 'taken' } }] })
  for (const [version, status] of [
    ['1.1', 200],
    ['1.0', 200],
    ['0.9', 505],
    ['2.0', 505],
    ['1.2', 400],
    ['3.0', 400]
  ] as const)
    t.equal(statusOf(await raw(port, bytes('/', { version }))), status, version)
  const smuggled = await raw(
    port,
    bytes('/', { method: 'POST', version: '1.0', lines: ['Transfer-Encoding: chunked'] })
  )
  t.equal(statusOf(smuggled), 400, 'HTTP/1.0 with a transfer coding')
  t.equal(
    statusOf(await raw(port, 'GET / HTTP/2.0\r\nHost: a.test\r\nHost: b.test\r\nConnection: close\r\n\r\n')),
    505,
    'whatever claims to be HTTP/2 has one Host as well'
  )
})
