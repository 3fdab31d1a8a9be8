import t from 'tap'
import { type Listening, listening, raw, type Seen, statusOf, upstream } from '../helpers.ts'
import { bytes, textOf } from '../raw-http.ts'

type Words = Record<string, unknown>

t.test('the path of the request to the upstream', async (t) => {
  const url = await upstream(t)
  const cases: {
    name: string
    path: string | string[]
    proxy?: Words
    group?: Words
    asks: [target: string, arrives: string][]
  }[] = [
    {
      name: 'without rewrite it goes on unchanged',
      path: '/a/*',
      asks: [
        ['/a', '/a'],
        ['/a/', '/a/'],
        ['/a/b%2Fc/', '/a/b%2Fc/']
      ]
    },
    {
      name: 'and so does the prefix of a group',
      group: { path: '/g' },
      path: '/a/*',
      asks: [['/g/a/b', '/g/a/b']]
    },
    {
      name: '"/" strips what stands before /*',
      path: '/a/*',
      proxy: { rewrite: '/' },
      asks: [
        ['/a', '/'],
        ['/a/', '/'],
        ['/a/b', '/b'],
        ['/a/b/', '/b/'],
        ['/a/b%2Fc', '/b%2Fc'],
        ['/a/a/b', '/a/b'],
        ['/a?b=/a', '/?b=/a']
      ]
    },
    {
      name: 'with the prefix of its group',
      group: { path: '/g' },
      path: '/a/*',
      proxy: { rewrite: '/' },
      asks: [
        ['/g/a/b', '/b'],
        ['/g/a', '/']
      ]
    },
    {
      name: 'another path replaces it',
      path: '/a/*',
      proxy: { rewrite: '/v2' },
      asks: [
        ['/a', '/v2'],
        ['/a/', '/v2/'],
        ['/a/b', '/v2/b']
      ]
    },
    {
      name: 'with or without its final slash',
      path: '/a/*',
      proxy: { rewrite: '/v2/' },
      asks: [
        ['/a/', '/v2/'],
        ['/a/b', '/v2/b']
      ]
    },
    {
      name: 'on /* it comes before the whole',
      path: '/*',
      proxy: { rewrite: '/v2' },
      asks: [
        ['/', '/v2/'],
        ['/a/b', '/v2/a/b']
      ]
    },
    {
      name: 'on an exact path it is the whole',
      path: '/a/b',
      proxy: { rewrite: '/c' },
      asks: [
        ['/a/b', '/c'],
        ['/a/b/', '/c'],
        ['/a/b?d=e', '/c?d=e']
      ]
    },
    { name: 'even the root', path: '/a', proxy: { rewrite: '/' }, asks: [['/a', '/']] },
    {
      name: 'a parameter is the segment as it came, still encoded',
      path: '/o/:id/:what',
      proxy: { rewrite: '/v2/{params.what}/{params.id}' },
      asks: [
        ['/o/1/x', '/v2/x/1'],
        ['/o/a%2Fb/%3F', '/v2/%3F/a%2Fb'],
        ['/o/$&/$1', '/v2/$1/$&'],
        ['/o/%7Ea/caf%c3%a9', '/v2/caf%c3%a9/~a'],
        ['/o/1/x?id=2', '/v2/x/1?id=2']
      ]
    },
    {
      name: 'a parameter before /*',
      path: '/o/:id/*',
      proxy: { rewrite: '/u/{params.id}' },
      asks: [
        ['/o/7/a/b', '/u/7/a/b'],
        ['/o/7', '/u/7'],
        ['/o/7/', '/u/7/']
      ]
    },
    {
      name: 'a parameter of a group',
      group: { path: '/t/:team' },
      path: '/o/*',
      proxy: { rewrite: '/{params.team}/o' },
      asks: [['/t/red/o/1', '/red/o/1']]
    },
    {
      name: 'a narrowed parameter',
      path: '/o/:id(\\d+)',
      proxy: { rewrite: '/{params.id}.json' },
      asks: [['/o/12', '/12.json']]
    },
    {
      name: 'each of several paths by its own',
      path: ['/a/*', '/b/c/*', '/d'],
      proxy: { rewrite: '/x' },
      asks: [
        ['/a/1', '/x/1'],
        ['/b/c/1', '/x/1'],
        ['/d', '/x'],
        ['/a', '/x']
      ]
    },
    {
      name: 'a parameter of whichever path it was',
      path: ['/o/:id/*', '/:id/o/*', '/v1/o/:id(\\d+)'],
      proxy: { rewrite: '/{params.id}' },
      asks: [
        ['/o/7/x', '/7/x'],
        ['/7/o/x', '/7/x'],
        ['/v1/o/8', '/8'],
        ['/o/o/x', '/o/x']
      ]
    },
    {
      name: 'the more specific of several paths',
      path: ['/a/*', '/a/b/*', '/a/b/c'],
      proxy: { rewrite: '/' },
      asks: [
        ['/a/x', '/x'],
        ['/a/b/x', '/x'],
        ['/a/b', '/'],
        ['/a/b/c', '/'],
        ['/a/b/c/', '/']
      ]
    },
    {
      name: 'other values are encoded',
      path: '/a/*',
      proxy: { rewrite: '/{query.t}/{headers.x-t}/{client.ip}' },
      asks: [['/a/b?t=x%2Fy', '/x%2Fy/h%20%2F/127.0.0.1/b?t=x%2Fy']]
    },
    {
      name: 'a brace that is meant as such',
      path: '/a',
      proxy: { rewrite: '/{{x}}' },
      asks: [['/a', '/{x}']]
    }
  ]
  for (const { name, path, proxy, group, asks } of cases)
    t.test(name, async (t) => {
      const one = { path, proxy: { upstream: url, ...proxy } }
      const { port } = await listening(t, {
        routes: [group === undefined ? one : { ...group, routes: [one] }]
      })
      for (const [target, comes] of asks) {
        const answer = await raw(port, bytes(target, { lines: ['X-T: h /'] }))
        t.equal(statusOf(answer), 200, target)
        t.equal((JSON.parse(textOf(answer)) as Seen).url, comes, target)
      }
    })

  t.test("begins with the path of the upstream's URL", async (t) => {
    const { port } = await listening(t, {
      upstreams: { based: { url: `${url}/base` }, slashed: { url: `${url}/base/` } },
      routes: [
        { path: '/a/*', proxy: { upstream: 'based' } },
        { path: '/b/*', proxy: { upstream: 'slashed', rewrite: '/' } },
        { path: '/c/*', proxy: { upstream: `${url}/one/off`, rewrite: '/v2' } }
      ]
    })
    for (const [target, comes] of [
      ['/a/x?y', '/base/a/x?y'],
      ['/b/x', '/base/x'],
      ['/b', '/base/'],
      ['/c/x', '/one/off/v2/x']
    ] as const)
      t.equal((JSON.parse(textOf(await raw(port, bytes(target)))) as Seen).url, comes, target)
  })
})

/** The headers that an upstream sees of a request with these lines. */
async function seenOf(
  own: Listening,
  target: string,
  lines: readonly string[],
  host = 'gateway.test'
): Promise<Record<string, string>> {
  const answer = await raw(own.port, bytes(target, { host, lines }))
  return (JSON.parse(textOf(answer)) as Seen).headers
}

t.test('the headers of the request to the upstream', async (t) => {
  const url = await upstream(t)
  const { host } = new URL(url)
  const routes = [
    { path: '/plain/*', proxy: { upstream: url } },
    { path: '/stripped/:x/*', proxy: { upstream: url, rewrite: '/' } },
    { path: '/replaced/*', proxy: { upstream: url, rewrite: '/v2' } },
    { path: '/preserved/*', proxy: { upstream: url, preserveHost: true } }
  ]
  const own = await listening(t, { routes })
  const behind = await listening(t, { trustedProxies: ['loopback'], requestId: { trust: true }, routes })

  t.test("set Host to the upstream's, unless preserveHost is set", async (t) => {
    t.equal((await seenOf(own, '/plain/x', []))['host'], host)
    t.equal((await seenOf(own, '/preserved/x', [], 'Gateway.test:81'))['host'], 'Gateway.test:81')
  })

  t.test('replace X-Forwarded-* of an untrusted client', async (t) => {
    const claims = [
      'Forwarded: for=9.9.9.9',
      'X-Real-IP: 9.9.9.9',
      'X-Forwarded-For: 9.9.9.9',
      'X-Forwarded-For: 8.8.8.8',
      'X-Forwarded-Proto: https',
      'X-Forwarded-Host: evil.test',
      'X-Forwarded-Port: 1',
      'X-Forwarded-Prefix: /evil',
      'X-Forwarded-Anything: evil',
      'X-Request-Id: mine',
      'X_Forwarded-For: 9.9.9.9',
      'X-Forwarded_For: 9.9.9.9',
      'X.Forwarded.Host: evil.test',
      'x_real_ip: 9.9.9.9',
      'X_Request_Id: mine'
    ]
    const seen = await seenOf(own, '/plain/x', claims)
    t.match(seen, {
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-proto': 'http',
      'x-forwarded-host': 'gateway.test',
      'x-forwarded-port': '80'
    })
    t.not(seen['x-request-id'], 'mine')
    t.strictSame(
      Object.keys(seen)
        .filter((name) => /forwarded|real|request.id/.test(name))
        .toSorted(),
      ['x-forwarded-for', 'x-forwarded-host', 'x-forwarded-port', 'x-forwarded-proto', 'x-request-id']
    )
    t.notMatch(JSON.stringify(seen), /evil|9\.9\.9\.9|8\.8\.8\.8/)
  })

  t.test('keep X-Forwarded-* of a trusted proxy, and add its address', async (t) => {
    const seen = await seenOf(behind, '/stripped/y/x', [
      'Forwarded: for=9.9.9.9',
      'X-Real-IP: 9.9.9.9',
      'X-Forwarded-For: 9.9.9.9',
      'X-Forwarded-For: 10.0.0.1',
      'X-Forwarded-Proto: https',
      'X-Forwarded-Host: web.test',
      'X-Forwarded-Port: 443',
      'X-Forwarded-Prefix: /outer',
      'X-Request-Id: theirs-1',
      'X_Forwarded_For: 7.7.7.7',
      'X.Real-IP: 7.7.7.7'
    ])
    t.match(seen, {
      forwarded: 'for=9.9.9.9',
      'x-real-ip': '9.9.9.9',
      'x-forwarded-for': '9.9.9.9, 10.0.0.1, 127.0.0.1',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'web.test',
      'x-forwarded-port': '443',
      'x-forwarded-prefix': '/outer/stripped/y',
      'x-request-id': 'theirs-1'
    })
    t.notMatch(JSON.stringify(seen), /7\.7\.7\.7/, 'other spellings of the header are removed')
  })

  t.test('set what a trusted proxy leaves out', async (t) => {
    t.match(await seenOf(behind, '/plain/x', []), {
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-proto': 'http',
      'x-forwarded-host': 'gateway.test',
      'x-forwarded-port': '80'
    })
  })

  t.test('set X-Forwarded-Prefix to what rewrite strips', async (t) => {
    for (const [target, prefix] of [
      ['/plain/x', undefined],
      ['/stripped/y/x', '/stripped/y'],
      ['/stripped/a%2Fb/x', '/stripped/a%2Fb'],
      ['/replaced/x', '/replaced']
    ] as const)
      t.equal((await seenOf(own, target, []))['x-forwarded-prefix'], prefix, target)
  })

  t.test(
    'what is meant for this connection alone stays here, names nominated by Connection, too',
    async (t) => {
      const answer = await raw(
        own.port,
        [
          'GET /plain/x HTTP/1.1',
          'Host: gateway.test',
          'Connection: close, X-Once',
          'Connection: x-twice',
          'Keep-Alive: timeout=5',
          'Proxy-Connection: keep-alive',
          'Proxy-Authorization: Basic eDp5',
          'TE: trailers',
          'Upgrade: h2c',
          'HTTP2-Settings: AAMAAABkAAQAAP__',
          'X-Once: 1',
          'X-Twice: 2',
          'X-Kept: 3',
          '',
          ''
        ].join('\r\n')
      )
      const seen = (JSON.parse(textOf(answer)) as Seen).headers
      t.equal(seen['x-kept'], '3')
      for (const name of [
        'x-once',
        'x-twice',
        'keep-alive',
        'proxy-connection',
        'proxy-authorization',
        'te',
        'upgrade',
        'http2-settings',
        'transfer-encoding'
      ])
        t.notOk(Object.hasOwn(seen, name), name)
      t.notMatch(seen['connection'] ?? '', /x-once|x-twice|close/i)
    }
  )

  t.test('keep forwarding and framing headers that Connection names', async (t) => {
    const body = 'hello'
    const answer = await raw(
      own.port,
      `POST /stripped/y/x HTTP/1.1\r\nHost: gateway.test\r\nConnection: close, X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Prefix, X-Request-Id, Host, Content-Length, Content-Type, Authorization, Cookie\r\nX-Forwarded-For: 9.9.9.9\r\nAuthorization: Bearer x\r\nCookie: a=b\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\n\r\n${body}`
    )
    const seen = JSON.parse(textOf(answer)) as Seen
    t.equal(seen.body, body)
    t.match(seen.headers, {
      host,
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-host': 'gateway.test',
      'x-forwarded-prefix': '/stripped/y',
      'x-request-id': /\S/,
      authorization: 'Bearer x',
      cookie: 'a=b',
      'content-type': 'text/plain'
    })
  })

  t.test('pass everything else on unchanged, repeated lines included', async (t) => {
    const answer = await raw(
      own.port,
      bytes('/plain/x', {
        lines: ['X-Two: a', 'X-Two: b', 'Accept: a/b', 'Accept-Encoding: gzip', 'Via: 1.1 x']
      })
    )
    const { rawHeaders } = JSON.parse(textOf(answer)) as Seen
    const values = (name: string): string[] =>
      rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === name)
    t.strictSame(values('x-two'), ['a', 'b'])
    t.strictSame(values('accept'), ['a/b'])
    t.strictSame(values('accept-encoding'), ['gzip'])
  })
})
