// URLs that servers may read as another path: what the gateway and its audit say of them is what these servers do.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createInterface } from 'node:readline'
import express from 'express'
import { fastify } from 'fastify'
import t, { type Test } from 'tap'
import { audit } from './audit.ts'
import { listening, missing, originOf, raw, statusOf } from './helpers.ts'

/** A server that answers "protected" to paths that it reads as protected ones, and anything else to others. */
interface Reader {
  readonly skip?: string | false
  start(t: Test): Promise<string>
}

/** The protected paths, each for a URL of its own and those below. */
const PROTECTED = ['/admin', '/admin/x', '/café', '/42']

const merged = (path: string): string => path.replaceAll(/\/{2,}/g, '/')

const isProtected = (path: string): boolean =>
  PROTECTED.includes(path.length > 1 ? path.replace(/\/$/, '') : path)

/** Makes a server that reads the path of a URL by a function. */
const reading =
  (read: (path: string) => string): Reader['start'] =>
  (t) =>
    originOf(
      t,
      createServer(({ url = '' }, response) =>
        response.end(isProtected(read(url.split('?', 1)[0] ?? '')) ? 'protected' : 'public')
      )
    )

function decoded(path: string): string {
  const bytes = path.replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16))
  )
  return Buffer.from(bytes, 'latin1').toString('utf8')
}

// The app compares the path that WSGI gives it (PEP 3333), in which the bytes are Latin-1.
const WSGI = `
import json, sys
from wsgiref.simple_server import make_server, WSGIRequestHandler
class Quiet(WSGIRequestHandler):
    def log_message(self, *args): pass
def app(environ, start_response):
    start_response('200 OK', [('content-type', 'text/plain')])
    path = environ['PATH_INFO'].encode('latin1').decode('utf8', 'replace')
    return [b'protected' if path.removesuffix('/') in json.loads(sys.argv[1]) else b'public']
server = make_server('127.0.0.1', 0, app, handler_class=Quiet)
print(server.server_port, flush=True)
server.serve_forever()
`

const FILES = `
import functools, sys
from http.server import ThreadingHTTPServer, SimpleHTTPRequestHandler
class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args): pass
server = ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=sys.argv[1]))
print(server.server_port, flush=True)
server.serve_forever()
`

async function python(t: Test, code: string, argument: string): Promise<string> {
  const child = spawn('python3', ['-X', 'utf8', '-c', code, argument], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(() => child.kill())
  const [port] = (await once(createInterface(child.stdout), 'line')) as [string]
  return `http://127.0.0.1:${port}`
}

const readers: Readonly<Record<string, Reader>> = {
  Express: {
    start(t) {
      const app = express()
      app.get(PROTECTED.map(encodeURI), (_request, response) => void response.send('protected'))
      app.use((_request, response) => void response.send('public'))
      return originOf(t, createServer(app))
    }
  },
  'Fastify without case': {
    async start(t) {
      const app = fastify({ routerOptions: { caseSensitive: false, ignoreTrailingSlash: true } })
      for (const url of PROTECTED) app.get(url, () => 'protected')
      app.setNotFoundHandler((_request, reply) => void reply.send('public'))
      t.teardown(() => app.close())
      return app.listen({ port: 0, host: '127.0.0.1' })
    }
  },
  'Python wsgiref': {
    skip: missing('python3'),
    start: (t) => python(t, WSGI, JSON.stringify(PROTECTED))
  },
  'Python http.server': {
    skip: missing('python3'),
    start: (t) =>
      python(
        t,
        FILES,
        t.testdir({
          admin: { 'index.html': 'protected', x: 'protected' },
          café: 'protected',
          '42': 'protected'
        })
      )
  },
  // A servlet container takes path parameters out before it decodes and maps (Servlet 6.0, section 3.5); Tomcat merges slashes then.
  'servlet-like': { start: reading((path) => merged(decoded(path.replaceAll(/;[^/]*/g, '')))) },
  'nginx-like': { start: reading((path) => merged(decoded(path))) },
  'Windows-like': {
    start: reading((path) =>
      decoded(path)
        .toLowerCase()
        .replaceAll(/[. ]+(?=\/|$)/g, '')
    )
  },
  'decoding twice': { start: reading((path) => decoded(decoded(path))) },
  // What a server sees behind another one that has decoded the path.
  'behind a proxy': {
    start: reading((path) =>
      merged(
        decoded(path)
          .toLowerCase()
          .replaceAll(/;[^/]*/g, '')
          .replaceAll(/[. ]+(?=\/|$)/g, '')
      )
    )
  }
}

const config = (upstream: object, ambiguous: string, more: object = {}): object => ({
  auth: { global: false, apiKeys: { list: [{ id: 'ada', key: `sha256:${'0'.repeat(64)}` }] } },
  paths: { ambiguous, doubleSlash: 'keep' },
  upstreams: { shop: upstream },
  routes: [
    { path: '/*', auth: false, proxy: { upstream: 'shop' } },
    { path: ['/admin/*', '/café', '/42'], auth: true, proxy: { upstream: 'shop' }, ...more }
  ]
})

// The servers by what they do with a path.
const CASE = ['Express', 'Fastify without case', 'Windows-like', 'behind a proxy']
const DECODED = [
  'Python wsgiref',
  'Python http.server',
  'servlet-like',
  'nginx-like',
  'Windows-like',
  'decoding twice',
  'behind a proxy'
]
const PARAMETERS = ['servlet-like', 'behind a proxy']
const TRIMMED = ['Windows-like', 'behind a proxy']
const MERGED = ['servlet-like', 'nginx-like', 'behind a proxy']

/** What becomes of a URL: refused always, in need of a key, public; or read as a protected one by these servers. */
type Verdict = 'refused' | 'protected' | 'public' | readonly string[]

const urls: Readonly<Record<string, Verdict>> = {
  '/admin': 'protected',
  '/admin/': 'protected',
  '/admin/x': 'protected',
  '/public': 'public',
  '/administrator': 'public',
  '/Admin': CASE,
  '/ADMIN/X': CASE,
  '/admin/X': 'protected',
  '/admin%2Fx': DECODED,
  '/admin%252fx': ['decoding twice'],
  '/admin%25252fx': 'public',
  '/%2561dmin': ['decoding twice'],
  '/%252561dmin': 'public',
  '/admin;x': PARAMETERS,
  '/admin;/x': PARAMETERS,
  '/;x/admin': PARAMETERS,
  '/admin;a=b/x': PARAMETERS,
  '/admin%3bx': ['behind a proxy'],
  '/admin%3B/x': ['behind a proxy'],
  '/42;x': PARAMETERS,
  '/42%3Bx': ['behind a proxy'],
  '/ADMIN;x': ['behind a proxy'],
  '//admin': ['Python wsgiref', ...MERGED],
  '//admin/x': ['Python wsgiref', 'Python http.server', ...MERGED],
  '/admin//x': 'protected',
  '/public//admin': 'public',
  '%2Fadmin': 'refused',
  '/%2Fadmin': MERGED,
  '/public%2Fadmin': 'public',
  '/admin\\x': 'refused',
  '/\\admin': 'refused',
  '/%5cadmin': 'refused',
  '/admin%5cx': 'refused',
  '/admin%255cx': 'refused',
  '/./admin': 'refused',
  '/public/../admin': 'refused',
  '/public/%2e%2e/admin': 'refused',
  '/public/%2e./admin': 'refused',
  '/public/..;/admin': 'refused',
  '/public/%252e%252e/admin': 'refused',
  '/public/..%2Fadmin': 'refused',
  '/public/%2e%2e%2fadmin': 'refused',
  '/admin/%2e': 'refused',
  '/...//admin': ['behind a proxy'],
  '/admin.': TRIMMED,
  '/admin./x': TRIMMED,
  '/admin%20': TRIMMED,
  '/admin..': TRIMMED,
  '/admin.json': 'public',
  '/42.': TRIMMED,
  '/42%20': TRIMMED,
  '/admin%00': 'refused',
  '/admin%00.js': 'refused',
  '/admin%0a': 'refused',
  '/admin%09': 'refused',
  '/%c0%61dmin': 'refused',
  '/%c0%afadmin': 'refused',
  '/%e0%80%afadmin': 'refused',
  '/admin%c0%afx': 'refused',
  '/%c1%a1dmin': 'refused',
  '/%u0061dmin': 'refused',
  '/admin%ff': 'refused',
  '/%EF%BD%81dmin': 'public',
  '/%EF%BC%8Fadmin': 'public',
  '/admin%EF%BC%8Fx': 'public',
  '/adm%C4%B1n': 'public',
  '/ADM%C4%B0N': 'public',
  '/%E2%84%AAelvin': 'public',
  '/caf%C3%A9': 'protected',
  '/caf%c3%a9': 'protected',
  '/cafe%CC%81': 'public',
  '/CAF%C3%89': ['Fastify without case', 'Windows-like', 'behind a proxy'],
  '/caf%E9': 'refused',
  '/café': 'refused',
  '/caf%25C3%25A9': ['decoding twice'],
  '/42//': MERGED,
  '/admin/;x': 'protected',
  '/42': 'protected',
  '/42/': 'protected',
  '/42/x': 'public',
  '/042': 'public',
  '/42%20x': 'public',
  '/%34%32': 'protected',
  '/admin?': 'protected',
  '/admin%3Fx': 'public',
  '/admin#x': 'refused',
  '/admin%23x': 'public',
  '/admin:x': 'public',
  '/admin,x': 'public',
  '/admin+x': 'public',
  '/admin%40x': 'public'
}

const UNSAFE = /SP_ERR_(?:PATHS_UNSAFE|REQUEST_MALFORMED)/

const get = (port: number, url: string): Promise<string> =>
  raw(port, `GET ${url} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`)

/** Returns the answers to all URLs of the table. */
async function answersOf(t: Test, options: object): Promise<ReadonlyMap<string, string>> {
  const { port } = await listening(t, options)
  return new Map(
    await Promise.all(Object.keys(urls).map(async (url) => [url, await get(port, url)] as const))
  )
}

const isServed = (answer: string): boolean => statusOf(answer) === 200 && answer.endsWith('protected')

for (const [name, reader] of Object.entries(readers))
  t.test(`${name}: what it serves of the protected paths`, { skip: reader.skip ?? false }, async (t) => {
    const answers = await answersOf(t, config({ url: await reader.start(t) }, 'keep'))
    for (const [url, verdict] of Object.entries(urls)) {
      const answer = answers.get(url) ?? ''
      t.equal(isServed(answer), Array.isArray(verdict) && verdict.includes(name), url)
      if (verdict === 'protected') t.equal(statusOf(answer), 401, url)
      if (verdict === 'refused') t.match(answer, UNSAFE, url)
    }
  })

t.test('refuses what one of the servers would serve, and nothing else', async (t) => {
  const url = await originOf(
    t,
    createServer((_request, response) => response.end())
  )
  const answers = await answersOf(t, config({ url }, 'reject'))
  for (const [each, verdict] of Object.entries(urls)) {
    const answer = answers.get(each) ?? ''
    if (verdict === 'public') t.equal(statusOf(answer), 200, each)
    else if (verdict === 'protected') t.equal(statusOf(answer), 401, each)
    else t.match(answer, verdict === 'refused' ? UNSAFE : /SP_ERR_PATHS_AMBIGUOUS/, each)
  }
})

t.test('the audit names a URL that one of the servers serves, and none where there is none', async (t) => {
  const url = 'http://127.0.0.1:9'
  const other = { proxy: { upstream: 'http://127.0.0.1:8' } }
  const cases: [what: string, options: object, named: string[]][] = [
    ['a folder', config({ url }, 'keep', { path: '/admin/*' }), ['/admin%2Fx']],
    ['a path with letters', config({ url }, 'keep', { path: '/admin' }), ['/Admin']],
    ['a path without letters', config({ url }, 'keep', { path: '/42' }), ['/42;x']],
    ['by default', config({ url }, 'reject'), []],
    ['an upstream that compares bytes', config({ url, exactPaths: true }, 'keep'), []],
    ['another upstream', config({ url }, 'keep', other), []],
    ['no gate', config({ url }, 'keep', { auth: false }), []]
  ]
  for (const [what, options, named] of cases) {
    const { warnings } = await audit(options)
    const found = warnings.flatMap(
      ({ message }) => /^GET (\S+) matches the route \/\*/.exec(message)?.[1] ?? []
    )
    t.strictSame(found, named, what)
    for (const each of found) t.ok(Array.isArray(urls[each]), `${each} is in the table`)
  }
})
