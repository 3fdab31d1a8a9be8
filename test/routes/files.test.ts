import { mkdirSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { loadConfig } from '../../src/index.ts'
import { ask, gateway, listening, raw, type Seen, statusOf, upstream } from '../helpers.ts'
import { bodies, post } from './unread-bodies.ts'

const get = (path: string, ...headers: string[]): string =>
  [`GET ${path} HTTP/1.1`, 'Host: a', 'Connection: close', ...headers, '', ''].join('\r\n')
const headerOf = (answer: string, name: string): string | undefined =>
  new RegExp(`\r\n${name}: ([^\r]*)`, 'i').exec(answer)?.[1]
const bodyIn = (answer: string): string => answer.slice(answer.indexOf('\r\n\r\n') + 4)

/** A folder as a build of a single-page app leaves it, with what should never be served beside and inside of it. */
function site(t: Pick<Test, 'testdir'>): { root: string; secret: string } {
  const folder = t.testdir({
    secret: { 'secret.txt': 'a secret' },
    'dist-old': { 'old.txt': 'a secret' },
    dist: {
      'index.html': '<h1>app</h1>',
      'about.html': '<h1>about</h1>',
      'app.js': 'let it = "be"',
      'style.css': 'a{}',
      'data.json': '{}',
      LICENSE: 'MIT',
      'numbers.txt': '0123456789',
      'a b.txt': 'a space',
      '100%.txt': 'a percent',
      'a%20b.txt': 'a percent-encoded space',
      'a#b?c.txt': 'a hash',
      'größe.txt': 'wide',
      '.env': 'a secret',
      '.git': { config: 'a secret' },
      '.well-known': { 'x.txt': 'a secret' },
      assets: { 'logo.svg': '<svg/>', '.hidden': 'a secret' },
      docs: { 'index.html': '<h1>docs</h1>', sub: { 'index.html': '<h1>sub</h1>' } }
    }
  })
  const root = join(folder, 'dist')
  symlinkSync(join(folder, 'secret'), join(root, 'out'))
  symlinkSync(join(folder, 'secret', 'secret.txt'), join(root, 'out.txt'))
  symlinkSync(join(folder, 'dist-old'), join(root, 'old'))
  symlinkSync('numbers.txt', join(root, 'in.txt'))
  symlinkSync('docs', join(root, 'guide'))
  symlinkSync('loop', join(root, 'loop'))
  symlinkSync('nowhere', join(root, 'dangling.txt'))
  mkdirSync(join(folder, 'linked'))
  symlinkSync(root, join(folder, 'linked', 'current'))
  return { root, secret: join(folder, 'linked', 'current') }
}

t.test('files', async (t) => {
  t.test('serves pages without their extension where it says so', async (t) => {
    const root = t.testdir({
      'index.html': 'index',
      'about.html': 'about',
      'docs.html': 'docs',
      docs: { 'intro.html': 'intro' },
      LICENSE: 'MIT',
      'LICENSE.html': 'page',
      '.hidden.html': 'a secret',
      'v1.2.html': 'notes'
    })
    symlinkSync('/etc/hostname', join(root, 'out.html'))
    const app = await gateway(t, {
      routes: [
        { path: '/*', files: { root, cleanUrls: true } },
        { path: '/plain/*', files: { root } },
        { path: '/app/*', files: { root, cleanUrls: true, fallback: '/index.html' } },
        {
          path: '/first/*',
          proxy: { upstream: await upstream(t), rewrite: '/', files: { root, cleanUrls: true } }
        }
      ]
    })
    const cases: [url: string, status: number, body?: string][] = [
      ['/about', 200, 'about'],
      ['/about?a=b', 200, 'about'],
      ['/about.html', 200, 'about'],
      ['/about/', 404],
      ['/docs', 200, 'docs'],
      ['/docs/', 404],
      ['/docs/intro', 200, 'intro'],
      ['/LICENSE', 200, 'MIT'],
      ['/v1.2', 200, 'notes'],
      ['/', 200, 'index'],
      ['/.hidden', 404],
      ['/out', 404],
      ['/docs%2Fintro', 404],
      ['/none', 404],
      ['/plain/about', 404],
      ['/app/about', 200, 'about'],
      ['/app/none', 200, 'index'],
      ['/first/about', 200, 'about'],
      ['/first/docs', 200, 'docs']
    ]
    for (const [url, status, body] of cases) {
      const response = await app.inject(url)
      t.equal(response.statusCode, status, url)
      if (body !== undefined) t.equal(response.body, body, `${url}: body`)
    }
    const { headers } = await app.inject('/about')
    t.match(headers, { 'content-type': /^text\/html/, 'cache-control': 'no-cache' })
    t.equal((await app.inject('/first/about/')).json<Seen>().url, '/about/', 'a folder is forwarded')
    await t.rejects(
      loadConfig({ routes: [{ path: '/a', files: { file: join(root, 'LICENSE'), cleanUrls: true } }] }, {}),
      { message: /files\.cleanUrls: expected "root" beside it/ }
    )
  })

  t.test('serves a single-page app in front of its API', async (t) => {
    const { root } = site(t)
    const { url } = await listening(t, {
      routes: [
        { path: '/api/*', proxy: { upstream: await upstream(t), rewrite: '/' } },
        { path: '/*', files: { root, fallback: '/index.html', maxAge: '7d' } }
      ]
    })
    const cases: [path: string, status: number, body: string | RegExp, type: string][] = [
      ['/', 200, '<h1>app</h1>', 'text/html; charset=utf-8'],
      ['/index.html', 200, '<h1>app</h1>', 'text/html; charset=utf-8'],
      ['/orders/7', 200, '<h1>app</h1>', 'text/html; charset=utf-8'],
      ['/orders/7/', 200, '<h1>app</h1>', 'text/html; charset=utf-8'],
      ['/orders?page=2', 200, '<h1>app</h1>', 'text/html; charset=utf-8'],
      ['/apiary', 200, '<h1>app</h1>', 'text/html; charset=utf-8'],
      ['/app.js', 200, 'let it = "be"', 'application/javascript; charset=utf-8'],
      ['/app.js?v=1', 200, 'let it = "be"', 'application/javascript; charset=utf-8'],
      ['/style.css', 200, 'a{}', 'text/css; charset=utf-8'],
      ['/assets/logo.svg', 200, '<svg/>', 'image/svg+xml'],
      ['/LICENSE', 200, 'MIT', 'application/octet-stream'],
      ['/docs/', 200, '<h1>docs</h1>', 'text/html; charset=utf-8'],
      ['/app.js/', 404, /SP_ERR_ROUTE_UNKNOWN/, 'application/problem+json'],
      ['/missing.js', 404, /SP_ERR_ROUTE_UNKNOWN/, 'application/problem+json'],
      ['/assets/missing.svg', 404, /SP_ERR_ROUTE_UNKNOWN/, 'application/problem+json'],
      ['/api/orders', 200, /"url":"\/orders"/, 'application/json'],
      ['/api', 200, /"url":"\/"/, 'application/json']
    ]
    for (const [path, status, body, type] of cases)
      t.test(path, async (t) => {
        const answer = await ask(url + path)
        t.equal(answer.status, status)
        t.match(answer.text, body)
        if (typeof body === 'string') t.equal(answer.text, body)
        t.equal(answer.headers.get('content-type'), type)
      })
  })

  t.test('serves existing files and responds 404 otherwise', async (t) => {
    const { root } = site(t)
    const { port } = await listening(t, {
      routes: [
        { path: '/*', files: { root } },
        { path: '/pre/fix/*', files: { root } },
        { path: ['/one/*', '/two/deep/*'], files: { root } },
        { path: '/group', routes: [{ path: '/*', files: { root: join(root, 'docs') } }] }
      ]
    })
    const cases: [path: string, status: number, body?: string][] = [
      ['/', 200, '<h1>app</h1>'],
      ['/a%20b.txt', 200, 'a space'],
      ['/a%20b.txt/', 404],
      ['/LICENSE/', 404],
      ['/pre/fix/numbers.txt/', 404],
      ['/100%25.txt', 200, 'a percent'],
      ['/a%2520b.txt', 200, 'a percent-encoded space'],
      ['/a%23b%3Fc.txt', 200, 'a hash'],
      ['/gr%C3%B6%C3%9Fe.txt', 200, 'wide'],
      ['/pre/fix/numbers.txt', 200, '0123456789'],
      ['/pre/fix', 308],
      ['/one/numbers.txt', 200, '0123456789'],
      ['/two/deep/numbers.txt', 200, '0123456789'],
      ['/two/deep/assets/logo.svg', 200, '<svg/>'],
      ['/group/', 200, '<h1>docs</h1>'],
      ['/group/sub/', 200, '<h1>sub</h1>'],
      ['/docs', 308],
      ['/docs/', 200, '<h1>docs</h1>'],
      ['/docs/index.html', 200, '<h1>docs</h1>'],
      ['/docs/sub', 308],
      ['/assets/', 404],
      ['/nothing', 404],
      ['/NUMBERS.TXT', 404],
      ['/numbers.txt/x', 404],
      [`/${'x'.repeat(3000)}`, 404],
      ['/*', 404]
    ]
    for (const [path, status, body] of cases)
      t.test(path.slice(0, 40), async (t) => {
        const answer = await raw(port, get(path), 5000)
        t.equal(statusOf(answer), status)
        if (body !== undefined) t.equal(Buffer.from(bodyIn(answer), 'latin1').toString(), body)
      })
    t.test('sends a folder to itself with a slash, and the query with it', async (t) => {
      const answer = await raw(port, get('/docs?q=%2F'), 5000)
      t.equal(headerOf(answer, 'location'), '/docs/?q=%2F')
    })
  })

  t.test('serves nothing outside of its folder', async (t) => {
    const { root, secret } = site(t)
    const hidden = [
      '/.env',
      '/%2eenv',
      '/.git/config',
      '/.git/',
      '/.git',
      '/assets/.hidden',
      '/.well-known/x.txt',
      '/out.txt',
      '/out/secret.txt',
      '/out/',
      '/out',
      '/old/old.txt',
      '/loop',
      '/dangling.txt',
      '/../secret/secret.txt',
      '/assets/../../secret/secret.txt',
      '/%2e%2e/secret/secret.txt',
      '/.%2e/secret/secret.txt',
      '/%2e%2e%2fsecret%2fsecret.txt',
      '/..%2fsecret%2fsecret.txt',
      '/%252e%252e/secret/secret.txt',
      '/%252e%252e%252fsecret%252fsecret.txt',
      '/..%5csecret%5csecret.txt',
      '/..\\secret\\secret.txt',
      '/..;/secret/secret.txt',
      '/%c0%ae%c0%ae/secret/secret.txt',
      '/%uff0e%uff0e/secret/secret.txt',
      '/....//secret/secret.txt',
      '//../secret/secret.txt',
      '/numbers.txt%00.html',
      '/assets%2flogo.svg',
      '/%2fetc/passwd',
      '//etc/passwd',
      '/etc/passwd',
      'http://a/../secret/secret.txt'
    ]
    const setups: [name: string, config: object][] = [
      ['by itself', { routes: [{ path: '/*', files: { root } }] }],
      ['through a link to it', { routes: [{ path: '/*', files: { root: secret } }] }],
      [
        'with every slash let in',
        { paths: { doubleSlash: 'keep' }, routes: [{ path: '/*', files: { root } }] }
      ],
      [
        'with encoded slashes decoded',
        { paths: { encodedSlash: 'decode', doubleSlash: 'merge' }, routes: [{ path: '/*', files: { root } }] }
      ],
      ['with a fallback', { routes: [{ path: '/*', files: { root, fallback: '/index.html' } }] }]
    ]
    for (const [name, config] of setups)
      t.test(name, async (t) => {
        const { port } = await listening(t, config)
        for (const path of hidden) {
          const answer = await raw(port, get(path), 5000)
          t.notMatch(answer, /a secret|root:/, path)
          const decoding = name === 'with encoded slashes decoded' && path === '/assets%2flogo.svg'
          const page = name === 'with a fallback' && ['/out/', '/out', '/loop', '/etc/passwd'].includes(path)
          t.ok(
            [decoding || page ? 200 : 404, 400].includes(statusOf(answer)),
            `${path} is ${statusOf(answer)}`
          )
          if (page) t.equal(bodyIn(answer), '<h1>app</h1>')
        }
        t.match(await raw(port, get('/in.txt'), 5000), '0123456789', 'a link inside of it is fine')
        t.match(await raw(port, get('/guide/'), 5000), '<h1>docs</h1>')
      })
    t.test('nor sends to another host', async (t) => {
      const { port } = await listening(t, setups[2]?.[1] ?? {})
      const answer = await raw(port, get('//docs'), 5000)
      t.equal(headerOf(answer, 'location'), '/docs/')
    })
  })

  t.test('supports conditional and range requests', async (t) => {
    const { root } = site(t)
    const file = join(root, 'numbers.txt')
    utimesSync(file, 1_700_000_000, 1_700_000_000)
    const app = await gateway(t, { routes: [{ path: '/*', files: { root } }] })
    const first = await app.inject('/numbers.txt')
    const etag = String(first.headers['etag'])
    t.match(etag, /^(W\/)?"[^"]+"$/)
    t.equal(first.headers['last-modified'], new Date(1_700_000_000_000).toUTCString())
    t.equal(first.headers['accept-ranges'], 'bytes')
    const cases: [
      name: string,
      headers: Record<string, string>,
      status: number,
      body: string,
      range?: string
    ][] = [
      ['the same tag', { 'if-none-match': etag }, 304, ''],
      ['one of its tags', { 'if-none-match': `"other", ${etag}` }, 304, ''],
      ['any tag', { 'if-none-match': '*' }, 304, ''],
      ['another tag', { 'if-none-match': '"other"' }, 200, '0123456789'],
      ['since then', { 'if-modified-since': String(first.headers['last-modified']) }, 304, ''],
      ['since before', { 'if-modified-since': new Date(0).toUTCString() }, 200, '0123456789'],
      ['a range', { range: 'bytes=2-4' }, 206, '234', 'bytes 2-4/10'],
      ['the end', { range: 'bytes=-3' }, 206, '789', 'bytes 7-9/10'],
      ['all from', { range: 'bytes=8-' }, 206, '89', 'bytes 8-9/10'],
      ['a range of what was', { range: 'bytes=2-4', 'if-range': '"other"' }, 200, '0123456789'],
      ['a range that is none', { range: 'lines=1-2' }, 200, '0123456789']
    ]
    for (const [name, headers, status, body, range] of cases)
      t.test(name, async (t) => {
        const answer = await app.inject({ url: '/numbers.txt', headers })
        t.equal(answer.statusCode, status)
        t.equal(answer.body, body)
        t.equal(answer.headers['content-range'], range)
        t.ok(answer.headers['x-content-type-options'], 'with security headers')
        if (status === 304) t.equal(answer.headers['etag'], etag)
      })
    t.test('a range beyond the end', async (t) => {
      const answer = await app.inject({ url: '/numbers.txt', headers: { range: 'bytes=20-30' } })
      t.equal(answer.statusCode, 416)
      t.match(answer.json(), { status: 416, title: 'Range Not Satisfiable' })
      t.notMatch(answer.body, /dist|numbers/)
    })
    t.test('sends a changed file again', async (t) => {
      writeFileSync(file, 'changed')
      const answer = await app.inject({ url: '/numbers.txt', headers: { 'if-none-match': etag } })
      t.match(answer, { statusCode: 200, body: 'changed' })
      t.not(answer.headers['etag'], etag)
    })
    t.test('to HEAD', async (t) => {
      const answer = await app.inject({ method: 'HEAD', url: '/app.js' })
      t.equal(answer.statusCode, 200)
      t.equal(answer.body, '')
      t.equal(answer.headers['content-length'], String(readFileSync(join(root, 'app.js')).length))
      t.equal((await app.inject({ method: 'HEAD', url: '/nothing' })).statusCode, 404)
    })
  })

  t.test('rejects methods other than GET and HEAD', async (t) => {
    const { root } = site(t)
    const app = await gateway(t, { routes: [{ path: '/*', files: { root } }] })
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const)
      for (const url of ['/app.js', '/nothing']) {
        const answer = await app.inject({ method, url })
        t.equal(answer.statusCode, 405, `${method} ${url}`)
        t.equal(answer.headers['allow'], 'GET, HEAD')
        t.match(answer.json(), { code: 'SP_ERR_ROUTE_METHOD' })
      }
    for (const body of bodies) t.equal((await post(app, '/app.js', body)).statusCode, 405, String(body))
  })

  t.test('sets cache-control by maxAge', async (t) => {
    const { root } = site(t)
    const auth = { apiKeys: { list: [{ id: 'alice', secret: 'key' }] } }
    const app = await gateway(t, {
      auth: { ...auth, global: false },
      routes: [
        { path: '/week/*', files: { root, maxAge: '7d', fallback: '/index.html' } },
        { path: '/none/*', files: { root } },
        { path: '/mine/*', files: { root, maxAge: '7d' }, auth: true }
      ]
    })
    const key = { 'x-api-key': 'key' }
    const cases: [url: string, kept: string, headers?: Record<string, string>][] = [
      ['/week/app.js', 'public, max-age=604800'],
      ['/week/LICENSE', 'public, max-age=604800'],
      ['/week/', 'no-cache'],
      ['/week/about.html', 'no-cache'],
      ['/week/docs/', 'no-cache'],
      ['/week/some/page', 'no-cache'],
      ['/week/missing.js', 'no-store'],
      ['/none/app.js', 'no-cache'],
      ['/mine/app.js', 'private, max-age=604800', key],
      ['/mine/app.js', 'no-store']
    ]
    for (const [url, kept, headers = {}] of cases)
      t.equal((await app.inject({ url, headers })).headers['cache-control'], kept, url)
  })

  t.test('serves one file at an exact path', async (t) => {
    const { root } = site(t)
    const { app, url } = await listening(t, {
      routes: [
        { path: '/robots.txt', files: { file: join(root, 'numbers.txt'), maxAge: '1h' } },
        { path: ['/start', '/begin'], files: { file: join(root, 'about.html'), maxAge: '1h' } },
        { path: '/hidden', files: { file: join(root, '.env') } },
        { path: '/link', files: { file: join(root, 'out.txt') } },
        { path: '/odd', files: { file: join(root, 'a%20b.txt') } },
        { path: '/assets/*', files: { root: join(root, 'assets') } }
      ]
    })
    const cases: [path: string, status: number, body?: string, caching?: string][] = [
      ['/robots.txt', 200, '0123456789', 'public, max-age=3600'],
      ['/robots.txt?x=1', 200, '0123456789'],
      ['/start', 200, '<h1>about</h1>', 'no-cache'],
      ['/begin', 200, '<h1>about</h1>'],
      ['/hidden', 200, 'a secret', 'no-cache'],
      ['/link', 200, 'a secret'],
      ['/odd', 200, 'a percent-encoded space'],
      ['/assets/logo.svg', 200, '<svg/>'],
      ['/robots.txt/x', 404],
      ['/robots.txt/', 404],
      ['/start/', 200],
      ['/numbers.txt', 404]
    ]
    for (const [path, status, body, caching] of cases) {
      const answer = await ask(url + path)
      t.equal(answer.status, status, path)
      if (body !== undefined) t.equal(answer.text, body, path)
      if (caching !== undefined) t.equal(answer.headers.get('cache-control'), caching, path)
    }
    const first = await app.inject('/robots.txt')
    const tag = String(first.headers.etag)
    t.equal((await app.inject({ url: '/robots.txt', headers: { 'if-none-match': tag } })).statusCode, 304)
    t.match(await app.inject({ url: '/robots.txt', headers: { range: 'bytes=2-4' } }), {
      statusCode: 206,
      body: '234'
    })
    t.equal((await app.inject({ method: 'POST', url: '/robots.txt' })).statusCode, 405)
    rmSync(join(root, 'numbers.txt'))
    t.match(await app.inject('/robots.txt'), { statusCode: 404, headers: { 'cache-control': 'no-store' } })
  })

  t.test('rejects a file that it can not serve', async (t) => {
    const { root } = site(t)
    const file = join(root, 'numbers.txt')
    const cases: [name: string, path: string, files: object, message: RegExp][] = [
      [
        'no file',
        '/a',
        { file: join(root, 'nothing') },
        /files\.file: There is no file ".*nothing"; files are relative/
      ],
      ['a folder', '/a', { file: root }, /files\.file: There is no file/],
      ['neither', '/a', {}, /files: expected either "root" or "file"/],
      ['both', '/a', { root, file }, /files\.file: expected either "root" or "file"/],
      ['a fallback', '/a', { file, fallback: '/index.html' }, /files\.fallback: expected "root" beside it/],
      [
        'a wildcard',
        '/a/*',
        { file },
        /files\.file: expected an exact path for one file, got "\/a\/\*"; "root" with/
      ]
    ]
    for (const [name, path, files, message] of cases)
      t.test(name, async (t) => {
        await t.rejects(loadConfig({ routes: [{ path, files }] }, {}), { message })
      })
  })

  t.test('rejects a missing folder or fallback', async (t) => {
    const { root } = site(t)
    const cases: [name: string, files: object, message: RegExp][] = [
      ['no folder', { root: join(root, 'nothing') }, /There is no folder/],
      ['a file', { root: join(root, 'app.js') }, /There is no folder/],
      ['no fallback', { root, fallback: '/nothing.html' }, /There is no file "\/nothing\.html"/],
      ['a folder as fallback', { root, fallback: '/docs' }, /There is no file "\/docs"/],
      ['a fallback without its slash', { root, fallback: 'index.html' }, /a path inside the folder/]
    ]
    for (const [name, files, message] of cases)
      t.test(name, async (t) => {
        await t.rejects(loadConfig({ routes: [{ path: '/*', files }] }, {}), { message })
      })
  })
})

t.test('prefers the most specific path, whatever its target', async (t) => {
  const { root } = site(t)
  const app = await gateway(t, {
    routes: [
      { path: '/*', files: { root, fallback: '/index.html' } },
      { path: '/robots.txt', respond: { body: 'User-agent: *' } },
      { path: '/old/*', redirect: { to: '/new' } },
      { path: '/old/kept', respond: { body: 'kept' } },
      { path: '/api/*', proxy: { upstream: await upstream(t) } }
    ]
  })
  t.equal((await app.inject('/robots.txt')).body, 'User-agent: *')
  t.equal((await app.inject('/old/x')).headers['location'], '/new/x')
  t.equal((await app.inject('/old/kept')).body, 'kept')
  t.equal((await app.inject('/api/x')).json<Seen>().url, '/api/x')
  t.equal((await app.inject('/page')).body, '<h1>app</h1>')
})
