import { readFileSync } from 'node:fs'
import bcrypt from 'bcryptjs'
import t from 'tap'
import { expectAll, translated } from './translated.ts'

const authorization = `Basic ${Buffer.from('ada:lovelace').toString('base64')}`

/** Returns a fixture with the hash of a password in it. */
const fixture = (name: string): string =>
  readFileSync(new URL(`fixtures/${name}`, import.meta.url), 'utf8').replaceAll(
    '$2a$04$HASH',
    bcrypt.hashSync('lovelace', 4)
  )

t.test('a Caddyfile of a site answers as in Caddy', async (t) => {
  const made = await translated(t, 'caddy', fixture('caddy-site.Caddyfile'), {
    www: { 'index.html': 'the app', 'app.js': 'script' }
  })
  const host = 'shop.example.com'
  const shop = { host }
  await expectAll(t, made, [
    {
      url: '/a?b=c',
      headers: { host: `www.${host}` },
      status: 301,
      location: 'https://shop.example.com/a?b=c'
    },
    {
      url: '/api/x?y=1',
      headers: shop,
      status: 200,
      path: '/x?y=1',
      gets: { host, 'x-client': '198.51.100.7' },
      has: { 'x-frame-options': 'DENY' }
    },
    { url: '/API/x', headers: shop, status: 200, path: '/x' },
    { url: '/admin', headers: shop, status: 401 },
    { url: '/administrator', headers: shop, status: 401 },
    { url: '/ADMIN/x', headers: shop, status: 401 },
    { url: '/admin/x', headers: { host, authorization }, status: 200, path: '/admin/x' },
    { url: '/office/x', headers: shop, status: 403 },
    { url: '/office/x', headers: shop, from: '192.0.2.8', status: 200, path: '/office/x' },
    { url: '/cart', headers: shop, status: 200, gets: { 'x-next': undefined } },
    { url: '/cart', headers: { host, 'x-release': 'next' }, status: 200, gets: { 'x-next': 'yes' } },
    { url: '/old?x=1', headers: shop, status: 301, location: '/new' },
    { url: '/legacy/x', headers: shop, status: 200, path: '/v1/legacy/x' },
    { url: '/dump.SQL', headers: shop, status: 404 },
    { url: '/plugin/x', headers: shop, status: 403 },
    { url: '/health', headers: shop, status: 200, body: 'OK' },
    { url: '/deep/link', headers: shop, status: 200, body: 'the app' },
    { url: '/app.js', headers: shop, status: 200, body: 'script' }
  ])
  t.match(made.text, /"acme": \{[^}]*"email": "ops@example.com"/)
})

t.test('matchers of hosts, addresses and methods stay guards', async (t) => {
  const made = await translated(t, 'caddy', fixture('caddy-services.Caddyfile'))
  const [notes, files] = ['notes.home.example.com', 'files.home.example.com']
  await expectAll(t, made, [
    { url: '/', headers: { host: notes }, status: 401 },
    {
      url: '/',
      headers: { host: notes, cookie: 'sso=1', 'x-user': 'root' },
      status: 200,
      gets: { 'x-user': 'ada' }
    },
    { url: '/', headers: { host: files }, status: 200, path: '/' },
    { url: '/', method: 'PUT', headers: { host: files }, status: 403 },
    { url: '/private/x', headers: { host: files }, status: 401 },
    { url: '/private/x', method: 'POST', headers: { host: files, authorization }, status: 403 },
    { url: '/private/x', headers: { host: files, authorization }, status: 200 },
    { url: '/?a=b', headers: { host: 'other.home.example.com' }, status: 403 },
    { url: '/', headers: { host: 'plain.example.com' }, status: 404 },
    { url: '/', headers: { host: 'gone.example.com' }, status: 403 }
  ])
  t.match(
    made.translation.notes.map(({ text }) => text),
    ['http://plain.example.com: run another gateway for it', /^handle @guess: expression/, /^uri replace/]
  )
})

t.test('a Caddyfile without braces, with a variable and a guard after its target', async (t) => {
  const made = await translated(
    t,
    'caddy',
    ':8080\nencode gzip\n@outside {\n\tpath /inside/*\n\tnot remote_ip private_ranges\n}\nrespond @outside 403\nreverse_proxy {$API}\n'
  )
  t.strictSame([...made.translation.variables.keys()], ['API'])
  await expectAll(t, made, [
    { url: '/inside/x', status: 403 },
    { url: '/INSIDE/x', status: 403 }
  ])
})

t.test('text of a Caddyfile stays text, whatever it looks like', async (t) => {
  const file = '${'.concat('file:secret.txt}')
  const made = await translated(
    t,
    'caddy',
    `:8080\nhandle /a${file}/* {\n\troot * "www/${file}"\n\theader X-A "${file}"\n\trespond "${file}"\n}\n` +
      'handle {\n\treverse_proxy 127.0.0.1:4001 {\n\t\theader_up X-B "a{ b"\n\t}\n}\n',
    { 'secret.txt': 'the secret' }
  )
  t.notMatch(made.text, 'the secret')
  await expectAll(t, made, [{ url: '/b', status: 200, gets: { 'x-b': 'a{ b' } }])
})

t.test('other methods than some are refused', async (t) => {
  const made = await translated(
    t,
    'caddy',
    ':80 {\n  @blocked not method GET HEAD\n  respond @blocked 405\n  reverse_proxy 127.0.0.1:4001\n}\n'
  )
  await expectAll(t, made, [
    { url: '/', status: 200 },
    { url: '/', method: 'POST', status: 405 },
    { url: '/', method: 'DELETE', status: 405 }
  ])
  t.strictSame(made.translation.notes, [])
})
