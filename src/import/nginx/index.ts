import { withEnvironment } from '../environment.ts'
import { isJsonObject, type Json, listAt, objectAt } from '../json.ts'
import { ImportError, type SourceText } from '../source-text.ts'
import type { Translation } from '../translation.ts'
import { literal } from '../values.ts'
import { kindOf } from './directives.ts'
import { zonesOf } from './guards.ts'
import { withIncludes } from './include.ts'
import { type Directive, parseNginx } from './parse.ts'
import { Scope } from './scope.ts'
import { addServer, addTls, isHttpsRedirect, onMainPort, readServer, type Server } from './servers.ts'
import { Upstreams } from './upstreams.ts'

/** Translates a config of nginx, with the files in its folder that it includes. */
export function translateNginx(source: SourceText, translation: Translation): void {
  const read = (text: SourceText): Directive[] =>
    parseNginx(withEnvironment(text, environmentOf(text), translation))
  const top = withoutIdle(withIncludes(read(source), source, read))
  const http = top.flatMap((each) => (each.name === 'http' ? [...(each.block ?? [])] : [each]))
  const scope = new Scope(http)
  const upstreams = new Upstreams(scope.own('upstream'), translation)
  const servers = scope
    .own('server')
    .map((directive) => readServer(directive, new Scope(directive.block ?? [], scope), translation))
  if (servers.length === 0)
    throw new ImportError(`${source.file}: expected a config of nginx with a "server", got none`)
  addRealIp([scope, ...servers.map((server) => server.scope)], translation)
  const routes = listAt(translation.config, 'routes')
  for (const server of withoutDoubles(servedBy(servers, translation), translation))
    addServer(server, { translation, upstreams, zones: zonesOf(http) })
  if (routes.length > 1) addMissingRoots(translation)
  addErrorPages(scope, servers, translation)
  count(top, translation)
}

/** Finds the variables that envsubst replaces in a template: in capitals, where nginx has none of that name. */
function environmentOf({ text }: SourceText): RegExp {
  const own = [...text.matchAll(/^\s*(?:set|map|geo|perl_set)\s[^;{]*?\$([A-Z]\w*)\s*[{;\s]/gm)].map(
    ([, name]) => name
  )
  const except = own.length === 0 ? '' : `(?!(?:${own.join('|')})\\b)`
  return new RegExp(`\\$\\{?${except}([A-Z][A-Z0-9_]+)\\b\\}?`, 'g')
}

/** Leaves out what has no effect without a cache. */
function withoutIdle(directives: readonly Directive[]): Directive[] {
  const hasCache = (list: readonly Directive[]): boolean =>
    list.some(
      ({ name, args, block = [] }) => (name === 'proxy_cache' && args[0] !== 'off') || hasCache(block)
    )
  const without = (list: readonly Directive[]): Directive[] =>
    list
      .filter(({ name }) => name !== 'proxy_cache_bypass' && name !== 'proxy_no_cache')
      .map(({ block, ...each }) => (block === undefined ? each : { ...each, block: without(block) }))
  return hasCache(directives) ? [...directives] : without(directives)
}

/** Returns the servers that are translated, with what redirects to HTTPS as `tls.redirectFrom`. */
function servedBy(servers: readonly Server[], translation: Translation): Server[] {
  const main = onMainPort(servers, translation)
  addTls(main, translation)
  const tls = translation.config['tls']
  if (!isJsonObject(tls)) return main
  const [redirect] = main.filter(isHttpsRedirect)
  if (redirect !== undefined) tls['redirectFrom'] = 80
  // With TLS a gateway has no plain listener but the one that redirects.
  return main.filter((server) => {
    if (!server.isSecure && !isHttpsRedirect(server))
      translation.missing(
        server.directive,
        'server without TLS: run another gateway for it',
        listAt(translation.config, 'routes')
      )
    return server.isSecure
  })
}

/** The first server of a name serves it. */
function withoutDoubles(servers: readonly Server[], translation: Translation): Server[] {
  const known = new Set<string>()
  return servers.flatMap((server) => {
    const { hosts, directive } = server
    const names = hosts.length === 0 ? ['*'] : hosts
    const left = names.filter((name) => !known.has(name))
    for (const name of names) known.add(name)
    if (left.length > 0) return [{ ...server, hosts: hosts.length === 0 ? [] : left }]
    translation.missing(
      directive,
      `server for ${names.join(', ')}, which another one serves already`,
      listAt(translation.config, 'routes')
    )
    return []
  })
}

/** A host without a route for a path must not fall to the routes of all hosts. */
function addMissingRoots({ config }: Translation): void {
  const entries = listAt(config, 'routes').filter(isJsonObject)
  if (entries.every(({ host }) => host !== undefined)) return
  for (const { host, routes } of entries)
    if (host !== undefined && Array.isArray(routes) && !routes.some(takesRest))
      routes.push({ path: '/*', respond: { status: 404 } })
}

const takesRest = (entry: Json): boolean =>
  isJsonObject(entry) && entry['when'] === undefined && [entry['path']].flat().includes('/*')

function addRealIp(scopes: readonly Scope[], translation: Translation): void {
  const from = scopes
    .flatMap((scope) => scope.own('set_real_ip_from'))
    .flatMap(({ args }) => (args[0] === undefined || args[0] === 'unix:' ? [] : [literal(args[0])]))
  if (from.length === 0) return
  translation.config['trustedProxies'] = [...new Set(from)]
  const header = scopes.flatMap((scope) => scope.own('real_ip_header'))[0]?.args[0]
  if (header !== undefined && !/^(?:x-forwarded-for|proxy_protocol)$/i.test(header))
    translation.config['clientIp'] = `header:${literal(header.toLowerCase())}`
}

/** Translates error_page where it names a file in the root of the server. */
function addErrorPages(scope: Scope, servers: readonly Server[], translation: Translation): void {
  for (const inner of [scope, ...servers.map((server) => server.scope)])
    for (const directive of inner.own('error_page')) {
      const uri = directive.args.at(-1) ?? ''
      const location = inner.own('location').find(({ args }) => args.at(-1) === uri)
      const root = new Scope(location?.block ?? [], inner).value('root')
      const statuses = directive.args.slice(0, -1)
      if (
        root === undefined ||
        !/^\/[\w./-]+\.html?$/.test(uri) ||
        root.includes('$') ||
        !statuses.every((each) => /^[45]\d\d$/.test(each))
      )
        translation.missing(directive, `error_page ${directive.args.join(' ')}`)
      else
        for (const status of statuses)
          objectAt(objectAt(translation.config, 'errors'), 'pages')[status] ??= literal(
            `${root.replace(/\/$/, '')}${uri}`
          )
    }
}

/** Counts the directives, and notes those without a translation that are no gates; what is in a server or location that was left out or closed is not translated. */
function count(directives: readonly Directive[], translation: Translation, isLeftOut = false): void {
  for (const directive of directives) {
    const { name, args, block = [] } = directive
    const isNoted = (): boolean => isNotedAt(directive, translation)
    // Sallyport knows of upgrades by itself.
    if (name === 'map' && args[0] === '$http_upgrade') translation.done()
    else if (!isNoted() && !isLeftOut && (kindOf(name) === 'noted' || name === 'include'))
      translation.missing(directive, [name, ...args].join(' '))
    else if (!isNoted() && !isLeftOut && kindOf(name) === 'guard')
      translation.missing(directive, [name, ...args].join(' '))
    else if (!isNoted() && !CONTAINERS.has(name)) countOne(translation, isLeftOut)
    if (name !== 'upstream' && name !== 'events' && (CONTAINERS.has(name) || name === 'if'))
      // What leaves an `if` has no meaning of its own.
      count(
        name === 'if' ? block.filter((each) => each.name !== 'break') : block,
        translation,
        isLeftOut || isShut(directive, translation)
      )
    else if (name === 'upstream')
      translation.done(block.filter((each) => !isNotedAt(each, translation)).length)
  }
}

function countOne(translation: Translation, isLeftOut: boolean): void {
  if (isLeftOut) translation.leftOut()
  else translation.done()
}

/** Returns whether a server was left out, or whether something in a location closes it. */
function isShut(directive: Directive, translation: Translation): boolean {
  if (directive.name === 'server') return isNotedAt(directive, translation)
  const closes = ({ block = [], ...each }: Directive): boolean =>
    translation.notes.some(
      ({ line, file, text }) => line === each.line && file === each.file && text.includes('; closed')
    ) || block.some((inner) => inner.name !== 'location' && closes(inner))
  return directive.name === 'location' && closes(directive)
}

const isNotedAt = ({ file, line }: Directive, { notes }: Translation): boolean =>
  notes.some((note) => note.line === line && note.file === file)

const CONTAINERS: ReadonlySet<string> = new Set([
  'http',
  'server',
  'location',
  'upstream',
  'events',
  'limit_except'
])
