import t from 'tap'
import { loadConfig } from '../../src/index.ts'
import { listening, raw, type Seen, upstream } from '../helpers.ts'

const target = await upstream(t)
const { port } = await listening(t, {
  auth: { optional: true, apiKeys: { list: [{ id: 'a&b=c', secret: 'key' }] } },
  query: { lang: 'en', debug: false },
  routes: [
    { path: '/root/*', proxy: { upstream: target } },
    {
      path: '/own/*',
      proxy: { upstream: target },
      query: { lang: false, 'a b': '{caller.id}', who: '{query.q}' }
    },
    { path: '/off/*', proxy: { upstream: target }, query: false },
    { path: '/local', redirect: { to: '/root/' } }
  ]
})
const seen = async (path: string): Promise<string> => {
  const answer = await raw(
    port,
    `GET ${path} HTTP/1.1\r\nHost: a\r\nX-Api-Key: key\r\nConnection: close\r\n\r\n`,
    5000
  )
  const { url } = JSON.parse(/\{.*\}/s.exec(answer)?.[0] ?? '{}') as Seen
  return url.slice(Math.max(0, url.indexOf('?')))
}
const cases: [name: string, path: string, query: string][] = [
  ['sets a parameter without a query', '/root/x', '?lang=en'],
  ['sets a parameter with an empty query', '/root/x?', '?lang=en'],
  ['replaces every occurrence', '/root/x?lang=de&q=1&lang=fr', '?q=1&lang=en'],
  ['removes every spelling', '/root/x?debug&debug=1&d%65bug=2&%64%65%62%75%67=3', '?lang=en'],
  ['keeps similar names', '/root/x?Debug=1&debugger=2&xdebug', '?Debug=1&debugger=2&xdebug&lang=en'],
  [
    'keeps the rest byte for byte',
    '/root/x?b=%7e%7E+%20&&a=1&a=%zz&=&;&c[]=\'"',
    '?b=%7e%7E+%20&&a=1&a=%zz&=&;&c[]=\'"&lang=en'
  ],
  ['keeps a name that cannot be decoded', '/root/x?%zz=1&debug=1', '?%zz=1&lang=en'],
  ['removes and sets on a route', '/own/x?lang=de&debug=1&q=%26x', '?q=%26x&a%20b=a%26b%3Dc&who=%26x'],
  ['reads a plus in a name as a space', '/own/x?a+b=1&a%20b=2', '?a%20b=a%26b%3Dc&who='],
  ['changes nothing where it is off', '/off/x?lang=de&debug=1', '?lang=de&debug=1']
]
for (const [name, path, query] of cases) t.test(name, async (t) => t.equal(await seen(path), query))

t.test('rejects an unknown value', async (t) => {
  await t.rejects(loadConfig({ query: { a: '{legs.x}' }, routes: [] }, {}), {
    message: /got "\{legs\.x\}"/
  })
})
