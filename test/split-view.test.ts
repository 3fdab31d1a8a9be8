// The URLs that the audit names, sent to servers that read them as another path: what it says is true.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createInterface } from 'node:readline'
import { fastify } from 'fastify'
import t, { type Test } from 'tap'
import { audit } from './audit.ts'
import { listening, missing, originOf, raw, statusOf } from './helpers.ts'

const KEY = `sha256:${'0'.repeat(64)}`

/** A server that answers "protected" to paths that it reads as one of the protected route, and "public" to all others. */
interface Reader {
  readonly name: string
  readonly skip?: string | false
  start(t: Test, isProtected: RegExp): Promise<string>
}

const answerFor = (isProtected: boolean): string => (isProtected ? 'protected' : 'public')

/** Makes a server that reads the path of a URL by a function. */
const nodeServer =
  (read: (path: string) => string): Reader['start'] =>
  (t, isProtected) =>
    originOf(
      t,
      createServer(({ url = '' }, response) =>
        response.end(answerFor(isProtected.test(read(url.split('?', 1)[0] ?? ''))))
      )
    )

const WSGI = `
import re, sys
from wsgiref.simple_server import make_server, WSGIRequestHandler
class Quiet(WSGIRequestHandler):
    def log_message(self, *args): pass
def app(environ, start_response):
    start_response('200 OK', [('content-type', 'text/plain')])
    return [b'protected' if re.search(sys.argv[1], environ['PATH_INFO']) else b'public']
server = make_server('127.0.0.1', 0, app, handler_class=Quiet)
print(server.server_port, flush=True)
server.serve_forever()
`

const readers: readonly Reader[] = [
  {
    name: 'Fastify without case',
    async start(t, isProtected) {
      const app = fastify({ routerOptions: { caseSensitive: false } })
      // The router compares in lower case, and finds the route of the path as it is written here.
      const path = isProtected.source.replaceAll(/[\\^$]|\(.*\)/g, '')
      for (const url of [path, `${path}/*`]) app.get(url, () => 'protected')
      app.setNotFoundHandler((_request, reply) => void reply.send('public'))
      t.teardown(() => app.close())
      return app.listen({ port: 0, host: '127.0.0.1' })
    }
  },
  {
    // Express matches without case by default, on the path as it came; only parameters are decoded.
    name: 'Express-like',
    start: (t, isProtected) => nodeServer((path) => path)(t, new RegExp(isProtected.source, 'i'))
  },
  {
    name: 'Python (WSGI)',
    skip: missing('python3'),
    async start(t, isProtected) {
      const child = spawn('python3', ['-c', WSGI, isProtected.source], {
        stdio: ['ignore', 'pipe', 'inherit']
      })
      t.teardown(() => child.kill())
      const [port] = (await once(createInterface(child.stdout), 'line')) as [string]
      return `http://127.0.0.1:${port}`
    }
  },
  {
    // A servlet container takes path parameters out before it decodes and maps (Servlet 6.0, section 3.5).
    name: 'servlet-like',
    start: nodeServer((path) => decodeURIComponent(path.replaceAll(/;[^/]*/g, '')))
  }
]

const cases: readonly {
  readonly path: string
  readonly isProtected: RegExp
  /** The URL that the audit names, and the readers that serve the protected route at it. */
  readonly url: string
  readonly served: readonly string[]
}[] = [
  {
    path: '/admin/*',
    isProtected: /^\/admin(\/|$)/,
    url: '/admin%2Fx',
    served: ['Python (WSGI)', 'servlet-like']
  },
  {
    path: '/admin',
    isProtected: /^\/admin$/,
    url: '/Admin',
    served: ['Fastify without case', 'Express-like']
  },
  { path: '/42', isProtected: /^\/42$/, url: '/42;x', served: ['servlet-like'] }
]

for (const reader of readers)
  t.test(reader.name, { skip: reader.skip ?? false }, async (t) => {
    for (const { path, isProtected, url, served } of cases) {
      const upstream = await reader.start(t, isProtected)
      const config = (ambiguous: string): object => ({
        auth: { global: false, apiKeys: { list: [{ id: 'ada', key: KEY }] } },
        paths: { ambiguous },
        routes: [
          { path: '/*', auth: false, proxy: { upstream } },
          { path, auth: true, proxy: { upstream } }
        ]
      })
      const { warnings } = await audit(config('keep'))
      const named = warnings.map(({ message }) => /^GET (\S+) matches the route \/\*/.exec(message)?.[1])
      t.strictSame(named, [url], `${path}: the audit names a URL`)

      const keeping = await listening(t, config('keep'))
      const rejecting = await listening(t, config('reject'))
      const get = (port: number, target: string): Promise<string> =>
        raw(port, `GET ${target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`)
      const plain = path.replace('*', 'x')
      t.equal(statusOf(await get(keeping.port, plain)), 401, `${plain} wants a key`)
      const answer = await get(keeping.port, url)
      t.equal(statusOf(answer), 200, `${url} wants none`)
      t.match(
        answer,
        served.includes(reader.name) ? /protected/ : /public/,
        `${url}: what the server answers`
      )
      const refused = await get(rejecting.port, url)
      t.equal(statusOf(refused), 400, `${url} is refused by default`)
      t.match(refused, /SP_ERR_PATHS_AMBIGUOUS/)
    }
  })
