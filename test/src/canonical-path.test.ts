import t from 'tap'
import { type Listening, listening, raw, readableLog, type Seen, statusOf, upstream } from '../helpers.ts'
import { bytes, codeOf, textOf } from '../raw-http.ts'

type Words = Record<string, unknown>

const UNSAFE = 'SP_ERR_PATHS_UNSAFE'
const SLASH = 'SP_ERR_PATHS_SLASH'

/** What an upstream behind `/*` sees of a target, or the code of the refusal. */
async function arrives({ port }: Listening, target: string): Promise<string> {
  const answer = await raw(port, bytes(target))
  if (statusOf(answer) === 200) return (JSON.parse(textOf(answer)) as Seen).url
  return statusOf(answer) === 400 ? codeOf(answer) : `status ${statusOf(answer)}`
}

t.test('the canonical path', async (t) => {
  const own = await listening(t, {
    routes: [
      { path: '/*', proxy: { upstream: await upstream(t) } },
      { path: '/admin/*', respond: { status: 403, body: 'closed' } }
    ]
  })
  const cases: [target: string, arrives: string][] = [
    // As sent.
    ['/a/b', '/a/b'],
    ['/a/', '/a/'],
    ['/a%2Fb', '/a%2Fb'],
    ['/a%2fb', '/a%2fb'],
    ['/a%20b', '/a%20b'],
    ['/caf%C3%A9', '/caf%C3%A9'],
    ['/a+b&c=d;e,f:g@h!$(x)*', '/a+b&c=d;e,f:g@h!$(x)*'],
    ["/it's", "/it's"],
    ['/a;v=1/b', '/a;v=1/b'],
    ['/...', '/...'],
    ['/..a/.b/c..', '/..a/.b/c..'],
    ['/a%3Fb', '/a%3Fb'],
    ['/a%23b', '/a%23b'],
    ['/100%25', '/100%25'],
    // Unreserved characters are decoded.
    ['/%61%2D%2E%5F%7E%5a', '/a-._~Z'],
    ['/%7Euser', '/~user'],
    // Dot segments are looked for in at most two decodings.
    ['/%25252e%25252e/a', '/%25252e%25252e/a'],
    // Dot segments.
    ['/..', UNSAFE],
    ['/.', UNSAFE],
    ['/a/..', UNSAFE],
    ['/a/../admin', UNSAFE],
    ['/./admin', UNSAFE],
    ['/a/./', UNSAFE],
    ['/%2e%2e/admin', UNSAFE],
    ['/%2E/admin', UNSAFE],
    ['/.%2e/admin', UNSAFE],
    ['/%252e%252e/admin', UNSAFE],
    ['/a/%252e', UNSAFE],
    ['/a%2F..%2Fadmin', UNSAFE],
    ['/a%2f%2e%2e%2fadmin', UNSAFE],
    ['/a%252F..%252Fadmin', UNSAFE],
    ['/..;/admin', UNSAFE],
    ['/a/..;x=1/admin', UNSAFE],
    ['/%2e%2e;/admin', UNSAFE],
    ['/a/..%3Bx/admin', UNSAFE],
    // NUL, backslashes, controls.
    ['/a%00', UNSAFE],
    ['/a%2500', UNSAFE],
    ['/a\\b', UNSAFE],
    ['/..\\admin', UNSAFE],
    ['/a%5Cb', UNSAFE],
    ['/a%255cb', UNSAFE],
    ['/a%0d%0aX:%20y', UNSAFE],
    ['/a%09', UNSAFE],
    ['/a%1F', UNSAFE],
    ['/a%7f', UNSAFE],
    ['/a%250a', UNSAFE],
    ['/a#b', UNSAFE],
    // Encodings that are none.
    ['/a%', UNSAFE],
    ['/a%4', UNSAFE],
    ['/a%zz', UNSAFE],
    ['/%u002e', UNSAFE],
    ['/%ff', UNSAFE],
    ['/caf%E9', UNSAFE],
    ['/%C0%AE%C0%AE/admin', UNSAFE],
    ['/%c0%af', UNSAFE],
    ['/%ED%A0%80', UNSAFE],
    ['/caf\xe9', 'SP_ERR_REQUEST_MALFORMED'],
    ['/caf\xc3\xa9', 'SP_ERR_REQUEST_MALFORMED'],
    // Empty segments.
    ['//', SLASH],
    ['//admin', SLASH],
    ['/a//b', SLASH],
    ['/a//', SLASH]
  ]
  for (const [target, comes] of cases)
    t.test(JSON.stringify(target), async (t) => t.equal(await arrives(own, target), comes))

  t.test('reaches the router and the gates', async (t) => {
    for (const target of ['/admin/x', '/%61dmin/x', '/%61%64%6d%69%6E', '/admin%2Fx', '/ADMIN', '/admin;x'])
      t.equal(
        statusOf(await raw(own.port, bytes(target))),
        ['/admin%2Fx', '/ADMIN', '/admin;x'].includes(target) ? 200 : 403,
        target
      )
  })

  t.test('leaves the query unchanged, byte for byte', async (t) => {
    for (const query of [
      '?',
      '?a',
      '?a=b&a=c',
      '?p=/../%2e%2e/%00',
      '?%zz=%',
      '?a=%20+b',
      '?u=http://x/?y#z',
      '?a=\\',
      '?a=\'<>"{}|^`',
      '??',
      '?a=1?b'
    ])
      t.equal(await arrives(own, `/%61${query}`), `/a${query}`, query)
  })
})

t.test('paths.slashes', async (t) => {
  const url = await upstream(t)
  const policy = async (paths: Words): Promise<Listening> =>
    listening(t, {
      paths,
      routes: [
        { path: '/*', proxy: { upstream: url } },
        { path: '/a/b', respond: { status: 204 } }
      ]
    })
  const cases: { name: string; paths: Words; asks: [target: string, arrives: string][] }[] = [
    {
      name: 'encodedSlash: reject',
      paths: { encodedSlash: 'reject' },
      asks: [
        ['/x%2Fb', SLASH],
        ['/x%2fb', SLASH],
        ['/x/b', '/x/b'],
        ['/x%252Fb', '/x%252Fb']
      ]
    },
    {
      name: 'encodedSlash: decode',
      paths: { encodedSlash: 'decode' },
      asks: [
        ['/x%2Fb', '/x/b'],
        ['/a%2fb', 'status 204'],
        ['/x%2F%2Fb', SLASH],
        ['/x/%2Fb', SLASH],
        ['/x%2F..%2Fb', UNSAFE],
        ['/x%252Fb', '/x%252Fb']
      ]
    },
    {
      name: 'doubleSlash: merge',
      paths: { doubleSlash: 'merge' },
      asks: [
        ['//x///b//', '/x/b/'],
        ['/a//b', 'status 204'],
        ['//', '/'],
        ['/x//../b', UNSAFE],
        ['/x/%2Fb', '/x/%2Fb']
      ]
    },
    {
      name: 'doubleSlash: merge with encodedSlash: decode',
      paths: { doubleSlash: 'merge', encodedSlash: 'decode' },
      asks: [['/a/%2F%2fb', 'status 204']]
    },
    {
      name: 'doubleSlash: keep',
      paths: { doubleSlash: 'keep' },
      asks: [
        ['/x//b', '/x//b'],
        ['//x', '//x'],
        ['/a//b', '/a//b'],
        ['/x//..', UNSAFE]
      ]
    },
    {
      name: 'mode: report lets pass what only the policy refuses',
      paths: { mode: 'report', encodedSlash: 'reject' },
      asks: [
        ['/x//b', '/x//b'],
        ['/x%2Fb', '/x%2Fb'],
        ['/x/../b', UNSAFE],
        ['/x%00', UNSAFE],
        ['/x%5c', UNSAFE]
      ]
    }
  ]
  for (const { name, paths, asks } of cases)
    t.test(name, async (t) => {
      const own = await policy(paths)
      for (const [target, comes] of asks) t.equal(await arrives(own, target), comes, target)
    })

  t.test('mode: report logs what it would refuse', async (t) => {
    const { log, lines } = readableLog()
    const own = await listening(
      t,
      { paths: { mode: 'report' }, routes: [{ path: '/*', respond: { body: 'taken' } }] },
      { log }
    )
    t.equal(textOf(await raw(own.port, bytes('/a//b'))), 'taken')
    t.match(
      lines.find((line) => line['path'] === '/a//b'),
      { status: 200, wouldRefuse: [`paths ${SLASH}`] }
    )
  })
})
