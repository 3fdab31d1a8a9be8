import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { ask, listening } from '../helpers.ts'

t.test('the headers of the response to the client', async (t) => {
  // Answers with the headers that the query names, "{own}" being its own origin.
  const server = createServer((request, response) => {
    const own = `http://${request.headers.host}`
    const { searchParams } = new URL(request.url ?? '/', own)
    for (const [name, value] of searchParams) response.appendHeader(name, value.replaceAll('{own}', own))
    response.statusCode = searchParams.has('location') ? 302 : 200
    response.end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { url: own } = await listening(t, {
    upstreams: { based: { url: `${url}/base` } },
    routes: [
      { path: '/plain/*', proxy: { upstream: url } },
      { path: '/stripped/*', proxy: { upstream: url, rewrite: '/' } },
      { path: '/o/:id/*', proxy: { upstream: url, rewrite: '/' } },
      { path: '/replaced/*', proxy: { upstream: url, rewrite: '/v2' } },
      { path: '/based/*', proxy: { upstream: 'based', rewrite: '/' } },
      { path: '/left/*', proxy: { upstream: url, rewrite: '/', rewriteBack: false } },
      { path: '/named/*', proxy: { upstream: url.replace('127.0.0.1', 'localhost'), rewrite: '/' } }
    ]
  })
  const back = async (path: string, name: string, value: string): Promise<string> =>
    (await ask(`${own}${path}?${new URLSearchParams({ [name]: value }).toString()}`)).headers.get(name) ?? ''

  const locations: [path: string, field: string, comes: string][] = [
    ['/plain/x', '{own}/y?z=1#f', '/y?z=1#f'],
    ['/plain/x', '/y', '/y'],
    ['/plain/x', 'y', 'y'],
    ['/plain/x', '../y', '../y'],
    ['/plain/x', 'https://other.test/y', 'https://other.test/y'],
    ['/plain/x', '//other.test/y', '//other.test/y'],
    ['/stripped/x', '{own}/y?z=1', '/stripped/y?z=1'],
    ['/stripped/x', '/y', '/stripped/y'],
    ['/stripped/x', '/', '/stripped/'],
    ['/stripped/x', 'y', 'y'],
    ['/stripped/x', '/stripped/y', '/stripped/y'],
    ['/stripped/x', 'https://other.test/y', 'https://other.test/y'],
    ['/o/a%2Fb/x', '/y', '/o/a%2Fb/y'],
    ['/replaced/x', '/v2/y', '/replaced/y'],
    ['/replaced/x', '/v2', '/replaced'],
    ['/replaced/x', '{own}/v2/y', '/replaced/y'],
    ['/replaced/x', '/v3/y', '/v3/y'],
    ['/based/x', '/base/y', '/based/y'],
    ['/based/x', '{own}/base/y', '/based/y'],
    ['/left/x', '{own}/y', `${url}/y`],
    ['/left/x', '/y', '/y']
  ]
  for (const [path, field, comes] of locations)
    t.test(`Location: ${field} on ${path}`, async (t) => {
      t.equal(await back(path, 'location', field), comes)
    })
  t.test('rewrites Content-Location like Location', async (t) => {
    t.equal(await back('/stripped/x', 'content-location', '{own}/y'), '/stripped/y')
  })

  const cookies: [path: string, field: string, comes: string][] = [
    ['/plain/x', 'a=b; Path=/; HttpOnly', 'a=b; Path=/; HttpOnly'],
    ['/stripped/x', 'a=b', 'a=b'],
    ['/stripped/x', 'a=b; Path=/', 'a=b; Path=/stripped'],
    ['/stripped/x', 'a=b; Path=/y; Secure', 'a=b; Path=/stripped/y; Secure'],
    ['/stripped/x', 'a=b; Path=/stripped/y', 'a=b; Path=/stripped/y'],
    ['/replaced/x', 'a=b; Path=/v2', 'a=b; Path=/replaced'],
    ['/replaced/x', 'a=b; path=/v2/y', 'a=b; Path=/replaced/y'],
    ['/based/x', 'a=b; Path=/base', 'a=b; Path=/based'],
    ['/stripped/x', 'a=/x; Path=/', 'a=/x; Path=/stripped'],
    ['/named/x', 'a=b; Domain=localhost; SameSite=Lax', 'a=b; SameSite=Lax'],
    ['/named/x', 'a=b; Domain=.LOCALHOST', 'a=b'],
    ['/named/x', 'a=b; Domain=other.test', 'a=b; Domain=other.test'],
    ['/left/x', 'a=b; Path=/; Domain=127.0.0.1', 'a=b; Path=/; Domain=127.0.0.1']
  ]
  for (const [path, field, comes] of cookies)
    t.test(`Set-Cookie: ${field} on ${path}`, async (t) => {
      t.equal(await back(path, 'set-cookie', field), comes)
    })
  t.test('rewrites each of several cookies', async (t) => {
    const { headers } = await ask(`${own}/stripped/x?set-cookie=a%3D1;Path%3D/&set-cookie=b%3D2;Path%3D/y`)
    t.strictSame(headers.getSetCookie(), ['a=1; Path=/stripped', 'b=2; Path=/stripped/y'])
  })

  t.test('drops hop-by-hop headers of the upstream', async (t) => {
    const query = new URLSearchParams({
      connection: 'X-Once',
      'x-once': '1',
      'keep-alive': 'timeout=9',
      'proxy-authenticate': 'Basic',
      'x-kept': '3'
    })
    const { headers } = await ask(`${own}/plain/x?${query.toString()}`)
    t.equal(headers.get('x-kept'), '3')
    for (const name of ['x-once', 'proxy-authenticate']) t.notOk(headers.has(name), name)
    t.not(headers.get('keep-alive'), 'timeout=9')
    t.notMatch(headers.get('connection') ?? '', /x-once/i)
  })
})
