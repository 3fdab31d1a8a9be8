import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { adminWarnings } from '../../../src/admin/audit.ts'
import { readSettings } from '../../../src/process/settings.ts'
import { type Audit, audit, codesOf } from '../../audit.ts'
import { SECRET } from '../../helpers.ts'

const BCRYPT = `$2b$10$${'a'.repeat(53)}`
const ARGON2 = `$argon2id$v=19$m=19456,t=2,p=1$${'a'.repeat(22)}$${'a'.repeat(43)}`
const KEY = 'k3JvT0xq9mYd7Rw2ZbHs5NcPfLuGaE1i'
// biome-ignore lint/suspicious/noTemplateCurlyInString: ${…} is the syntax of the config
const FROM_ENV = '${KEY}'
const keys = { apiKeys: { list: [{ id: 'a', key: `sha256:${'0'.repeat(64)}` }] } }
const proxy = { upstream: 'http://127.0.0.1:9' }
const route = { path: '/a', proxy }

const SIGNED = {
  auth: { jwt: { secret: FROM_ENV, algorithms: ['HS256'], audience: 'us' } },
  routes: [{ path: '/a', respond: {} }]
}

const SECURED = { security: [{ key: [] }] }

/** A code, a config that it warns of, and a similar one that it doesn't. */
interface Triple {
  readonly warns: object
  readonly near: object
  /** Files beside the config, by their names. */
  readonly files?: Readonly<Record<string, string>>
  readonly setup?: Audit
  /** The process in which there is nothing to warn of. */
  readonly nearSetup?: Audit
}

// What audits.test.ts has no row for.
const triples: Readonly<Record<string, Triple>> = {
  SP_WARN_ACCEPTANCE_UNUSED: {
    warns: { routes: [{ ...route, 'x-ok': { SP_WARN_PROXY_LOGIN_UNLIMITED: 'gone' } }] },
    near: { routes: [{ path: '/login', proxy, 'x-ok': { SP_WARN_PROXY_LOGIN_UNLIMITED: 'there' } }] }
  },
  SP_WARN_ADMIN_OPEN: {
    warns: { routes: [route] },
    near: { routes: [route] },
    setup: ofProcess({ ADMIN_HOST: '0.0.0.0' }),
    nearSetup: ofProcess({ ADMIN_HOST: '0.0.0.0', ADMIN_TOKEN: KEY })
  },
  SP_WARN_AGGREGATE_NEVER_FOUND: {
    warns: legs({ x: { path: '/{requestId}', cache: { ttl: '1m' } } }),
    near: legs({ x: { path: '/{requestId}' } })
  },
  SP_WARN_AGGREGATE_NO_EFFECT: {
    warns: legs({ x: { method: 'POST', retry: { attempts: 2 } } }),
    near: legs({ x: { method: 'POST', retry: { attempts: 2 }, safe: true } })
  },
  SP_WARN_AGGREGATE_UNSAFE: {
    warns: legs({ x: { method: 'POST' }, y: { method: 'POST' } }),
    near: legs({ x: { method: 'POST' }, y: {} })
  },
  SP_WARN_AUTH_BCRYPT: {
    warns: { auth: { basic: true, users: { list: [{ name: 'ada', password: BCRYPT }] } }, routes: [route] },
    near: { auth: { basic: true, users: { list: [{ name: 'ada', password: ARGON2 }] } }, routes: [route] }
  },
  SP_WARN_AUTH_EVERY_USER: {
    warns: withOidc({}),
    near: withOidc({}, { require: { claims: { email: '*@example.com' } } })
  },
  SP_WARN_AUTH_SECRET_IN_URL: {
    warns: withOidc({ client_secret_hint: FROM_ENV }, { require: { roles: ['a'] } }),
    near: withOidc({ prompt: 'login' }, { require: { roles: ['a'] } })
  },
  SP_WARN_CACHE_LARGE_ENTRY: {
    warns: { routes: [{ ...route, cache: { ttl: '1m', maxEntry: '17mb' } }] },
    near: { routes: [{ ...route, cache: { ttl: '1m', maxEntry: '16mb' } }] }
  },
  SP_WARN_CACHE_NEVER_FOUND: {
    warns: { routes: [{ ...route, cache: { ttl: '1m' }, query: { id: '{requestId}' } }] },
    near: { routes: [{ ...route, cache: false, query: { id: '{requestId}' } }] }
  },
  SP_WARN_GROUP_NAMELESS: {
    warns: { routes: [counted({}, '/a'), counted({}, '/b')] },
    near: { routes: [counted({ name: 'a' }, '/a'), counted({ name: 'b' }, '/b')] }
  },
  SP_WARN_HEADERS_UNDERSCORES: {
    warns: { routes: [{ ...route, headers: { only: ['accept', 'x_tenant'] } }] },
    near: {
      routes: [
        { ...route, headers: { only: ['accept', 'x_tenant'], underscores: 'keep' } },
        { ...route, path: '/b', headers: { only: ['x-tenant', '_tenant', '__proto__'] } }
      ]
    }
  },
  SP_WARN_INCLUDE_GATE_OFF: {
    warns: { auth: keys, routes: [{ include: 'off.json' }] },
    near: { auth: keys, routes: [{ include: 'on.json' }] },
    files: {
      'off.json': JSON.stringify({ auth: false, routes: [route] }),
      'on.json': JSON.stringify({ routes: [route] })
    }
  },
  SP_WARN_INCLUDE_GATE_REPORTS: {
    warns: { auth: keys, routes: [{ include: 'reports.json' }] },
    near: { auth: keys, routes: [{ include: 'enforces.json' }] },
    files: {
      'reports.json': JSON.stringify({ auth: { mode: 'report' }, routes: [route] }),
      'enforces.json': JSON.stringify({ auth: { mode: 'enforce' }, routes: [route] })
    }
  },
  SP_WARN_IP_ACCESS_FILE: {
    warns: { routes: [{ ...route, ipAccess: { file: 'office.txt' } }] },
    near: { routes: [{ ...route, ipAccess: { file: 'blocked.txt' } }] },
    files: { 'office.txt': '192.0.2.1\n', 'blocked.txt': '192.0.2.1\n' }
  },
  SP_WARN_OPERATIONS_PUBLIC: {
    warns: operations('open.json'),
    near: operations('said.json'),
    files: {
      'open.json': document({ '/pets': { get: {}, post: SECURED } }),
      'said.json': document({ '/pets': { get: { security: [] }, post: SECURED } })
    }
  },
  SP_WARN_OPERATIONS_SKIPPED: {
    warns: operations('trace.json'),
    near: operations('get.json'),
    files: {
      'trace.json': document({ '/pets': { get: SECURED, trace: SECURED } }),
      'get.json': document({ '/pets': { get: SECURED } })
    }
  },
  SP_WARN_PROCESS_DESCRIPTORS: {
    warns: { overload: { maxConnections: 1000 }, routes: [route] },
    near: { overload: { maxConnections: 900 }, routes: [route] },
    setup: { descriptors: 2000 }
  },
  SP_WARN_PROXY_WEBSOCKET_UNCHANGED: {
    warns: transformed({ websocket: { idle: '1m' } }),
    near: transformed({ websocket: false })
  },
  SP_WARN_SECRET_LITERAL: {
    warns: { routes: [{ ...route, headers: { request: { authorization: `Bearer ${KEY}` } } }] },
    near: { routes: [{ ...route, headers: { request: { authorization: `Bearer ${FROM_ENV}` } } }] },
    files: {}
  },
  SP_WARN_SECRET_WEAK: {
    warns: SIGNED,
    near: SIGNED,
    files: {},
    setup: { env: { KEY: 'changeme-changeme-changeme-changeme' } },
    nearSetup: { env: { KEY } }
  },
  SP_WARN_STORE_VERIFY: {
    warns: { store: { redis: 'rediss://127.0.0.1:9', tls: { verify: false } }, routes: [route] },
    near: { store: { redis: 'rediss://127.0.0.1:9' }, routes: [route] }
  },
  SP_WARN_STORE_WORKERS: {
    warns: { routes: [{ ...route, rateLimit: { max: 1, window: '1m' } }] },
    near: { routes: [route] },
    setup: { workers: 2 }
  },
  SP_WARN_VALIDATE_FORMAT: {
    warns: { routes: [{ ...route, validate: { body: { type: 'string', format: 'e-mail' } } }] },
    near: { routes: [{ ...route, validate: { body: { type: 'string', format: 'email' } } }] }
  },
  SP_WARN_VALIDATE_RESPONSE: {
    warns: validated({ response: true }, 'broken.json'),
    near: validated({}, 'broken.json'),
    files: { 'broken.json': document({ '/pets': { get: answers({ type: 'text' }) } }) }
  },
  SP_WARN_VALIDATE_UNREACHABLE: {
    warns: validated({}, 'pets.json', '/v1'),
    near: validated({}, 'pets.json', '/pets/*'),
    files: { 'pets.json': document({ '/pets': { get: {} } }) }
  },
  SP_WARN_VALIDATE_UNSECURED: {
    warns: validated({}, 'secured.json'),
    near: validated({}, 'open.json'),
    files: {
      'secured.json': document({ '/pets': { get: SECURED } }),
      'open.json': document({ '/pets': { get: { security: [{}, { key: [] }] } } })
    }
  },
  SP_WARN_WHEN_INCOMPLETE: {
    warns: { routes: [{ ...route, when: { scheme: 'https' } }] },
    near: { routes: [{ ...route, when: { scheme: 'https' } }, route] }
  }
}

function ofProcess(env: Readonly<Record<string, string>>): Audit {
  return { ofProcess: adminWarnings(readSettings(env)) }
}

function legs(written: Readonly<Record<string, object>>): object {
  const all = Object.entries(written).map(([name, leg]) => [name, { ...proxy, path: '/x', ...leg }])
  return { routes: [{ path: '/a', methods: ['POST'], aggregate: { legs: Object.fromEntries(all) } }] }
}

function withOidc(params: object, more: object = {}): object {
  const oidc = { issuer: 'https://id.example.com', clientId: 'a', clientSecret: FROM_ENV, params }
  return { publicUrl: 'https://a.example.com', auth: { session: true, oidc, ...more }, routes: [route] }
}

function counted(more: object, path: string): object {
  return { ...more, path: '/x', rateLimit: { max: 1, window: '1m' }, routes: [{ path, proxy }] }
}

function transformed(more: object): object {
  return {
    routes: [{ path: '/a', transform: { response: { remove: ['a'] } }, proxy: { ...proxy, ...more } }]
  }
}

function document(paths: object): string {
  const components = { securitySchemes: { key: { type: 'apiKey', in: 'header', name: 'x-api-key' } } }
  return JSON.stringify({ openapi: '3.1.0', info: { title: 'a', version: '1' }, components, paths })
}

function answers(schema: object): object {
  return { responses: { 200: { description: 'a', content: { 'application/json': { schema } } } } }
}

function operations(openapi: string): object {
  return { routes: [{ auth: { ...keys, openapi: true }, operations: { openapi }, proxy }] }
}

function validated(more: object, openapi: string, path = '/*'): object {
  return { routes: [{ path, validate: { openapi, ...more }, proxy }] }
}

for (const [code, { warns, near, files, setup = {}, nearSetup = setup }] of Object.entries(triples))
  t.test(`warns of ${code}, not of a near miss, and not where it is accepted`, async (t) => {
    const folder = t.testdir({ ...files })
    const found = (config: object, context: Audit): ReturnType<typeof audit> => {
      writeFileSync(join(folder, 'gateway.json'), JSON.stringify(config))
      const env = { SESSION_SECRET: SECRET, KEY, ...context.env }
      return audit(files === undefined ? config : join(folder, 'gateway.json'), { ...context, env })
    }
    t.strictSame(codesOf(await found(warns, setup)), [code])
    t.notOk(codesOf(await found(near, nearSetup)).includes(code), 'a near miss')
    const { warnings, accepted } = await found({ ...warns, 'x-ok': { [code]: 'on purpose' } }, setup)
    t.strictSame(
      warnings.map(({ message }) => message),
      [],
      'nothing is left'
    )
    t.match(accepted, [{ code, reason: 'on purpose' }])
  })

t.test('no code is without such configs', (t) => {
  const read = (file: string): string => readFileSync(new URL(file, import.meta.url), 'utf8')
  const audits = read('./audits.test.ts')
  for (const [, code = ''] of read('../../../docs/warnings.md').matchAll(/^## (SP_WARN_\w+)/gm))
    t.ok(code in triples || audits.includes(`['${code}']`), `${code}: add it to the table above`)
  t.end()
})
