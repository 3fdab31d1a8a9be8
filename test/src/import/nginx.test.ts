import bcrypt from 'bcryptjs'
import t from 'tap'
import { expectAll, translated } from './translated.ts'

const ADA = `Basic ${Buffer.from('ada:lovelace').toString('base64')}`
const htpasswd = `ada:${bcrypt.hashSync('lovelace', 4)}\n`

t.test('a config of services answers as in nginx', async (t) => {
  const made = await translated(t, 'nginx', 'nginx-services.conf')
  const host = 'api.example.com'
  const api = { host }
  await expectAll(t, made, [
    {
      url: '/orders/7?x=1',
      headers: api,
      status: 200,
      path: '/v2/7?x=1',
      gets: { host, 'x-real-ip': '198.51.100.7' },
      has: { 'x-frame-options': 'DENY' }
    },
    { url: '/orders', headers: api, status: 301, location: '/orders/' },
    { url: '/keep/a%20b', headers: api, status: 200, path: '/keep/a%20b' },
    { url: '/', headers: { host: 'eu.api.example.com' }, status: 200, path: '/' },
    { url: '/', headers: { host: 'other.example.com' }, status: 403 },
    { url: '/admin/x', headers: api, status: 403 },
    { url: '/administrator', headers: api, status: 403 },
    { url: '/admin/x', headers: api, from: '10.1.2.3', status: 200, path: '/admin/x' },
    { url: '/live/x?t=7', headers: api, status: 200, gets: { 'x-token': 'a{b}7', 'x-real-ip': undefined } },
    { url: '/users/7/files', headers: api, status: 200, path: '/files/7' },
    { url: '/users/me/files', headers: api, status: 200, path: '/users/me/files' },
    { url: '/old/a?b=c', headers: api, status: 301, location: 'https://www.example.com/new/' },
    { url: '/moved/a?b=c', headers: api, status: 302, location: 'https://www.example.com/moved/a?b=c' },
    { url: '/health', headers: api, status: 200, body: 'fine\n' },
    { url: '/health/', headers: api, status: 200, path: '/health/' },
    { url: '/.git/config', headers: api, status: 403 },
    { url: '/orders/.env', headers: api, status: 403 },
    ...[200, 200, 200, 200, 429].map((status) => ({ url: '/login', headers: api, status }))
  ])
  t.strictSame(
    made.translation.notes.map(({ text }) => text),
    ['sub_filter a b']
  )
  t.match(made.text, /\/\/ not translated: sub_filter a b \(.*nginx-services\.conf:61\)\n\s+"path": \["\/\*"/)
})

t.test('a template with variables and ifs answers as in nginx', async (t) => {
  const made = await translated(t, 'nginx', 'nginx-template.conf', {
    www: { 'index.html': 'app', css: { 'a.css': 'css' }, js: { 'a.js': 'js' } },
    'conf.d': { 'readme.md': 'no config' }
  })
  const host = 'example.com'
  await expectAll(t, made, [
    { url: '/', headers: { host }, status: 200, body: 'app' },
    {
      url: '/css/a.css',
      headers: { host },
      status: 200,
      body: 'css',
      has: { 'cache-control': 'max-age=60' }
    },
    { url: '/js/a.js', headers: { host }, status: 200, body: 'js' },
    {
      url: '/api/7?x=y',
      headers: { host },
      status: 200,
      path: '/api/7?x=y',
      gets: { connection: 'keep-alive' }
    },
    { url: '/api/export/7', headers: { host }, status: 200, path: '/api/export/7' },
    { url: '/static/0a1b2c3d/a/b', headers: { host }, status: 200, path: '/a/b' },
    { url: '/api/actuator/env', headers: { host }, status: 403 },
    { url: '/api/a.bak', headers: { host }, status: 403 },
    { url: '/api/actuator.bak', headers: { host }, status: 403 },
    { url: '/exact', headers: { host }, status: 200, path: '/exact' },
    { url: '/files/7', headers: { host, 'user-agent': 'Scraper/2' }, status: 403 },
    { url: '/files/7', headers: { host, 'user-agent': 'curl/8' }, status: 200, path: '/7' },
    {
      url: '/files/7',
      method: 'OPTIONS',
      headers: { host },
      status: 204,
      has: { 'access-control-allow-origin': '*', 'content-length': undefined }
    },
    { url: '/any', headers: { host: 'other.example.org' }, status: 404 }
  ])
  t.match(made.text, /"host": "\$\{SITE_DOMAIN\}"/)
  t.match(made.text, /"url": "\$\{APP_URL\}"/)
  t.equal(made.text.match(/"max": "\$\{API_RATE\}"/g)?.length, 1, 'a zone counts all of its locations')
  t.match(made.text, /"certificates": \[\{ "cert": "\$\{TLS_CERTIFICATE_FILE\}"/)
  t.strictSame(
    made.translation.notes.map(({ line, text }) => `${line} ${text}`),
    ['15 ssl without a certificate'],
    'what has no effect is not noted'
  )
  t.equal(made.translation.translated, made.translation.total - 1)
})

t.test('guards without a translation close their location', async (t) => {
  const made = await translated(t, 'nginx', 'nginx-guards.conf', { htpasswd })
  const authorization = ADA
  await expectAll(t, made, [
    { url: '/', status: 401 },
    { url: '/', headers: { authorization }, status: 200, path: '/' },
    { url: '/public/x', status: 200 },
    { url: '/public', status: 301, location: '/public/' },
    { url: '/ping', status: 200 },
    { url: '/ping/', status: 401 },
    { url: '/app/x', status: 401 },
    {
      url: '/app/x',
      headers: { cookie: 'sso=1', 'x-user': 'root', 'x-verified': 'SUCCESS' },
      status: 200,
      gets: { 'x-user': 'ada', 'x-verified': undefined }
    },
    { url: '/check', headers: { authorization }, status: 404 },
    { url: '/lua/x', headers: { authorization }, status: 403 },
    { url: '/if/x', headers: { authorization, 'x-key': 'secret' }, status: 403 },
    { url: '/token/x', headers: { authorization }, status: 403 },
    { url: '/any/x', status: 401 },
    { url: '/any/x', from: '192.0.2.9', status: 200 },
    { url: '/any/x', headers: { authorization }, status: 200 },
    { url: '/x/dump.SqL', headers: { authorization }, status: 403 },
    { url: '/public/dump.sql', status: 403 },
    { url: '/build/x', status: 404 },
    { url: '/builder/x', headers: { authorization }, status: 200 }
  ])
  t.match(made.text, /\/\/ not translated: access_by_lua_block; closed until you have translated it/)
})

t.test('a config of an app with TLS keeps its files, its cache and its redirect', async (t) => {
  const made = await translated(t, 'nginx', 'nginx-spa.conf', {
    dist: { 'index.html': 'the app', 'app.js': 'script', 'favicon.ico': 'icon' },
    manual: { 'index.html': 'manual' },
    pages: { '50x.html': 'sorry' }
  })
  t.match(made.text, /"redirectFrom": 80/)
  t.match(made.text, /"clientIp": "header:cf-connecting-ip"/)
  await expectAll(
    t,
    made,
    [
      { url: '/', status: 200, body: 'the app' },
      { url: '/about', status: 200, body: 'the app' },
      { url: '/app.js', status: 200, body: 'script', has: { 'cache-control': 'public' } },
      { url: '/favicon.ico', status: 200, body: 'icon' },
      { url: '/docs/', status: 200, body: 'manual' },
      { url: '/api/x?y=1', status: 200, path: '/v1/x?y=1' },
      { url: '/api/x.js', status: 404 },
      { url: '/hook', status: 404 },
      { url: '/hook', method: 'POST', status: 200, path: '/hook' }
    ].map((each) => ({ ...each, headers: { host: 'app.example.com' } }))
  )
})

t.test('text of a source stays text, whatever it looks like', async (t) => {
  const file = '${'.concat('file:secret.txt}')
  const made = await translated(
    t,
    'nginx',
    `server {\n  location = /a { return 200 "a // ${file} {caller.id}"; }\n` +
      `  location /b/ { add_header X-A "${file}"; proxy_set_header X-B "{client.ip}"; proxy_pass http://127.0.0.1:4001; }\n` +
      `  location /c/ { auth_jwt "x\n// \\" }], ${file}"; }\n` +
      '  location /k { return 301 $scheme://$host/n$is_args$args; }\n' +
      '  location ~ /\\.git { deny all; }\n  location ~ \\.php$ { return 404; }\n}\n',
    { 'secret.txt': 'the secret' }
  )
  t.notMatch(made.text, 'the secret')
  await expectAll(t, made, [
    { url: '/a', status: 200, body: `a // ${file} {caller.id}` },
    { url: '/b/', status: 200, gets: { 'x-b': '{client.ip}' }, has: { 'x-a': file } },
    { url: '/c/', status: 403 },
    { url: '/k?a=b', status: 301, location: '/n?a=b' },
    { url: '/b/.git/x.php', status: 403 },
    { url: '/b/x.php', status: 404 }
  ])
})

t.test('files that come first, pages without .html and rewrites answer as in nginx', async (t) => {
  const source = `server {
  root www;
  location / { try_files $uri $uri.html $uri/ =404; }
  location /app/ { try_files $uri $uri.html @app; }
  location /old/ { if (!-f $request_filename) { proxy_pass http://127.0.0.1:4001; break; } }
  location /spa/ { if (!-e $request_filename) { rewrite ^(.*)$ /spa/index.html break; } }
  location /php/ { if (!-f $request_filename) { rewrite ^ /index.php last; } }
  location /two/ { if (!-f $request_filename) { proxy_pass http://127.0.0.1:4001; } if (!-d $request_filename) { return 404; } }
  location /moved/ { rewrite ^/moved/(.*)$ /new/$1 permanent; }
  location /away { rewrite ^ https://www.example.com$request_uri? redirect; }
  location /kept/ { rewrite ^/kept/(a|b)/(.*)$ /new/$2 permanent; }
  location @app { proxy_pass http://127.0.0.1:4001; }
}
`
  const made = await translated(t, 'nginx', source, {
    www: {
      'index.html': 'index',
      'about.html': 'about',
      'a.txt': 'outside',
      app: { 'a.txt': 'app', 'page.html': 'page' },
      old: { 'a.txt': 'old' },
      spa: { 'index.html': 'spa', 'a.js': 'js' }
    }
  })
  await expectAll(t, made, [
    { url: '/about', status: 200, body: 'about' },
    { url: '/none', status: 404 },
    { url: '/app/a.txt', status: 200, body: 'app' },
    { url: '/app/page', status: 200, body: 'page' },
    { url: '/app/about', status: 200, path: '/app/about' },
    { url: '/old/a.txt', status: 200, body: 'old' },
    { url: '/old/b.txt?c=d', status: 200, path: '/old/b.txt?c=d' },
    { url: '/spa/a.js', status: 200, body: 'js' },
    { url: '/spa/any/where', status: 200, body: 'spa' },
    { url: '/php/a', status: 403 },
    { url: '/two/a', status: 403 },
    { url: '/moved/a/b?c=d', status: 301, location: '/new/a/b?c=d' },
    { url: '/away/a?c=d', status: 302, location: 'https://www.example.com/away/a?c=d' },
    { url: '/kept/a/b', status: 403 }
  ])
  t.strictSame(
    made.translation.notes.map(({ line }) => line),
    [7, 8, 11]
  )
})
