import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import t from 'tap'
import { gateway } from '../helpers.ts'

const config = {
  auth: { session: true, users: { list: [{ name: 'ada', secret: 'lovelace' }] } },
  routes: [{ path: '/private', respond: { body: 'for known callers' } }]
}
const HOST = 'gate.example'
const PUBLIC = 'https://api.example.com'

/** Logs in as the page does: `return_to` comes in the form, or in the query of the page's address. */
function logIn(
  app: FastifyInstance,
  { form, query }: { form?: string; query?: string }
): Promise<LightMyRequestResponse> {
  const fields = new URLSearchParams({ username: 'ada', password: 'lovelace' })
  if (form !== undefined) fields.set('return_to', form)
  return app.inject({
    method: 'POST',
    // As a link on another page has it: encoded, so that it arrives as it was meant.
    url: query === undefined ? '/login' : `/login?return_to=${encodeURIComponent(query.toWellFormed())}`,
    payload: fields.toString(),
    headers: {
      host: HOST,
      'content-type': 'application/x-www-form-urlencoded',
      'sec-fetch-mode': 'navigate',
      'sec-fetch-site': 'same-origin'
    }
  })
}

// A name of an assertion is one line of plain text.
const shown = (value: unknown): string =>
  JSON.stringify(value)
    .slice(0, 100)
    .replaceAll(/[^ -~]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)

const gateways = [
  { name: 'without a publicUrl', more: {}, origin: `http://${HOST}` },
  { name: 'with a publicUrl', more: { publicUrl: PUBLIC }, origin: PUBLIC },
  { name: 'with a publicUrl of http', more: { publicUrl: `http://${HOST}` }, origin: `http://${HOST}` }
]

const evil = 'evil.example'

// CWE-601: each of these leads some browser, or some parser on the way, to another origin, unless it is refused.
const tricks: Record<string, string[]> = {
  'other schemes': [
    `https://${evil}`,
    `http://${evil}/`,
    `HTTPS://${evil}`,
    `https:${evil}`,
    `https:/${evil}`,
    `https:///${evil}`,
    `https:\\\\${evil}`,
    `ftp://${evil}`,
    'javascript:alert(1)',
    'JaVaScRiPt:alert(1)',
    'java\tscript:alert(1)',
    '\u0001javascript:alert(1)',
    'javascript://%0aalert(1)',
    'data:text/html,<script>alert(1)</script>',
    'vbscript:msgbox(1)',
    'blob:https://evil.example/1',
    'file:///etc/passwd',
    'view-source:https://evil.example',
    `${PUBLIC}:443@${evil}`,
    `http://${HOST}@${evil}`
  ],
  'a scheme left out': [
    `//${evil}`,
    `///${evil}`,
    `////${evil}`,
    `//${evil}/%2f..`,
    `//${evil}:443/a`,
    `//${evil}?a#b`,
    `///${evil}@${HOST}`,
    '//',
    '///',
    `//0x7f000001`,
    `//[::1]/`
  ],
  backslashes: [
    `/\\${evil}`,
    `\\/${evil}`,
    `\\\\${evil}`,
    `\\${evil}`,
    `/\\/${evil}`,
    `//\\${evil}`,
    `/a\\..\\..\\\\${evil}`,
    `/\\/\\${evil}`,
    `/a/..\\/${evil}`
  ],
  'control characters and spaces': [
    `/\t/${evil}`,
    `/\n/${evil}`,
    `/\r/${evil}`,
    `/\r\n/${evil}`,
    `\t//${evil}`,
    ` //${evil}`,
    `//${evil} `,
    `/ /${evil}`,
    `\u0000//${evil}`,
    `/\u0000/${evil}`,
    `/\u000b/${evil}`,
    `/\u001f/${evil}`,
    `/\u007f/${evil}`,
    `/\u0085/${evil}`,
    `/\u00a0/${evil}`,
    `/a\r\nset-cookie: sid=1`,
    `/a\nlocation: //${evil}`,
    `/\u0009\u002f${evil}`
  ],
  'user info': [
    `//${HOST}@${evil}`,
    `https://${HOST}@${evil}`,
    `https://${HOST}:pass@${evil}/`,
    `//${evil}#@${HOST}`,
    `//${evil}\\@${HOST}`,
    `https://user@${HOST}/`,
    `${PUBLIC}@${evil}/`,
    `@${evil}`,
    `:@${evil}`
  ],
  'hosts that look like ours': [
    `https://${HOST}.${evil}`,
    `${PUBLIC}.${evil}/`,
    `${PUBLIC}:8443/`,
    `${PUBLIC}%2e${evil}/`,
    `.${evil}`,
    `-${evil}`,
    `//api.example.com.${evil}`
  ],
  'encoded and twice encoded': [
    `/%2f${evil}`,
    `/%2F%2F${evil}`,
    `%2f%2f${evil}`,
    `/%5c${evil}`,
    `/%5C%5C${evil}`,
    `%5c%5c${evil}`,
    `/%09/${evil}`,
    `/%0a/${evil}`,
    `/%0d%0aset-cookie:sid=1`,
    `/%00/${evil}`,
    `/%252f%252f${evil}`,
    `https%3a%2f%2f${evil}`,
    `/%2e%2e%2f%2f${evil}`,
    `%68%74%74%70%73%3a//${evil}`,
    `/%E3%80%82${evil}`,
    `/%zz/${evil}`
  ],
  'other writings of a character': [
    `\uff0f\uff0f${evil}`,
    `/\uff0f${evil}`,
    `/\u2215/${evil}`,
    `/\u2044${evil}`,
    `/\uff3c${evil}`,
    `//evil\u3002example`,
    `https:\uff0f\uff0f${evil}`,
    `/\u2028/${evil}`,
    `/\u2029/${evil}`,
    `/\ufeff/${evil}`,
    `/\u200b/${evil}`,
    `/\u202e/${evil}`,
    `/\u3000/${evil}`,
    `/\ud800/${evil}`,
    `\u{e0001}//${evil}`,
    `//\u24d4vil.example`
  ],
  'dot segments': [
    `/..//${evil}`,
    `/.//${evil}`,
    `/a/..//${evil}`,
    `/a/../..//${evil}`,
    `/%2e%2e//${evil}`,
    `/%2e//${evil}`,
    `/.%2e//${evil}`,
    `/a/%2e%2e//${evil}`,
    `..//${evil}`,
    `.//${evil}`,
    `./\\${evil}`,
    `/..\\/${evil}`,
    `/a/..///${evil}`
  ],
  'no path of its own': ['', '.', '..', '?', '#', evil, `?//${evil}`, `#//${evil}`, 'private', '*', '~'],
  'very long': [`//${evil}/${'a'.repeat(5000)}`, `/${'a'.repeat(5000)}`, `/${'/'.repeat(5000)}${evil}`]
}

// Paths of ours, though they look odd: whoever is sent there stays here.
const STAYING = new Set(['encoded and twice encoded', 'other writings of a character', 'dot segments'])

t.test('never redirects to another origin after a log-in', async (t) => {
  for (const { name, more, origin } of gateways)
    t.test(name, async (t) => {
      const app = await gateway(t, { ...config, ...more })
      for (const [kind, asked] of Object.entries(tricks))
        t.test(kind, async (t) => {
          for (const trick of asked)
            for (const from of [{ form: trick }, { query: trick }, { form: trick, query: trick }]) {
              const { statusCode, headers } = await logIn(app, from)
              const location = String(headers.location)
              const said = shown(from)
              // A URL beyond the limits is refused as such, before anything is read.
              if (statusCode === 414) continue
              t.equal(statusCode, 303, said)
              t.equal(new URL(location, origin).origin, origin, said)
              if (!STAYING.has(kind)) t.equal(location, '/login', said)
              t.match(location, /^\/(?![/\\])[\x21-\x5b\x5d-\x7e]*$/, 'a path in plain characters')
              // Whoever decodes once more on the way, or joins it to an origin, gets no further.
              t.equal(new URL(origin + location).origin, origin)
              t.equal([headers['set-cookie']].flat().length, 1, 'nothing was slipped in')
            }
        })
    })
})

t.test('the log-in page drops a foreign return_to', async (t) => {
  const app = await gateway(t, config)
  for (const trick of Object.values(tricks).flat()) {
    const { statusCode, body } = await app.inject({
      url: `/login?return_to=${encodeURIComponent(trick.toWellFormed())}`,
      headers: { host: HOST }
    })
    if (statusCode === 414) continue
    t.equal(statusCode, 200)
    const [, value = ''] = /name="return_to" value="([^"]*)"/.exec(body) ?? []
    t.equal(new URL(value.replaceAll('&amp;', '&'), `http://${HOST}`).origin, `http://${HOST}`, shown(trick))
    t.notMatch(body, /<script/)
  }
})

t.test('returns to a valid return_to', async (t) => {
  const honest: [asked: string, location: string][] = [
    ['/', '/'],
    ['/private', '/private'],
    ['/a?b=c#d', '/a?b=c#d'],
    ['/a/b/?x=1&y=%20&z=%26#top', '/a/b/?x=1&y=%20&z=%26#top'],
    ['/a%2Fb', '/a%2Fb'],
    ['/?next=https://evil.example/', '/?next=https://evil.example/'],
    ['/search?q=//evil.example', '/search?q=//evil.example'],
    ['/a?b=//c#//d', '/a?b=//c#//d'],
    ['/a;b=c:d@e', '/a;b=c:d@e'],
    ['/caf\u00e9?q=\u{1f6a2}', '/caf%C3%A9?q=%F0%9F%9A%A2'],
    ['/a/../b', '/b'],
    [`/${'a'.repeat(2000)}`, `/${'a'.repeat(2000)}`]
  ]
  for (const { name, more, origin } of gateways)
    t.test(name, async (t) => {
      const app = await gateway(t, { ...config, ...more })
      for (const [asked, location] of honest)
        for (const from of [{ form: asked }, { query: asked }]) {
          const { statusCode, headers } = await logIn(app, from)
          t.equal(statusCode, 303)
          t.equal(headers.location, location, shown(from))
        }
      const first = await logIn(app, { form: '/form', query: '/query' })
      t.equal(first.headers.location, '/form', 'the form is what the user sent')
      const whole = await logIn(app, { form: `${origin}/a?b=c#d` })
      t.equal(
        whole.headers.location,
        'publicUrl' in more ? '/a?b=c#d' : '/login',
        'a whole URL of the publicUrl'
      )
    })

  t.test('also after a first wrong password', async (t) => {
    const app = await gateway(t, config)
    const returnTo = '/a?b="c"&d=<e>#f'
    const { body } = await app.inject(`/login?return_to=${encodeURIComponent(returnTo)}`)
    const carried = (page: string): string =>
      (/name="return_to" value="([^"]*)"/.exec(page)?.[1] ?? '').replaceAll('&amp;', '&')
    t.equal(carried(body), '/a?b=%22c%22&d=%3Ce%3E#f')
    const again = await app.inject({
      method: 'POST',
      url: '/login',
      payload: new URLSearchParams({ username: 'ada', password: 'no', return_to: carried(body) }).toString(),
      headers: { 'content-type': 'application/x-www-form-urlencoded', 'sec-fetch-mode': 'navigate' }
    })
    t.equal(again.statusCode, 401)
    t.equal(carried(again.body), carried(body))
    t.equal((await logIn(app, { form: carried(again.body) })).headers.location, carried(body))
  })
})
