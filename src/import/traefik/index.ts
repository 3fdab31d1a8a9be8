import { isJsonObject, type Json, listAt, objectAt } from '../json.ts'
import { errorAt, type SourceText } from '../source-text.ts'
import type { Translation } from '../translation.ts'
import { nodeOfLabels } from './labels.ts'
import { matcherOf } from './matcher.ts'
import type { Node } from './node.ts'
import { readNode, withSiblings } from './read.ts'
import { type Router, routesOf, sayable } from './routers.ts'
import { parseRule } from './rule.ts'
import { literal } from './text.ts'

/** Translates a dynamic config of Traefik in YAML, or the labels of a Compose file. */
export function translateTraefik(source: SourceText, translation: Translation): void {
  const written = readNode(source)
  const root =
    written.get('services').exists() && !written.get('http').exists()
      ? nodeOfLabels(written)
      : withSiblings(written, source)
  addVariables(source.text, translation)
  const http = root.get('http')
  if (!http.exists())
    throw errorAt(
      { file: source.file, line: 1 },
      'expected "http" with routers, or services with labels of Traefik'
    )
  const entryPoints = new EntryPoints(root, http)
  const routers: Router[] = []
  for (const [name, node] of http.get('routers').entries()) {
    const reason = entryPoints.reasonToLeaveOut(node)
    if (reason === undefined) routers.push(...alternativesOf(name, node, root))
    else
      translation.missing(
        node.line,
        `router ${name} on ${reason}: run another gateway for it`,
        listAt(translation.config, 'routes')
      )
  }
  const left = sayable(withoutRedirects(routers, http, translation), http, translation)
  const list = listAt(translation.config, 'routes')
  const hosts = [...new Set(left.flatMap(({ matcher }) => matcher.hosts ?? []))]
  for (const host of hosts) addGroup(list, host, routesOf(host, left, http, translation), translation)
  list.push(...routesOf(undefined, left, http, translation).filter(isJsonObject))
  addTls(root, left, translation)
  addTrust(root, translation)
  for (const kind of ['tcp', 'udp'])
    if (root.get(kind).exists()) translation.missing(root.get(kind).line, kind)
  count(root, translation)
}

/** Names the variables of the environment that a config has without a default. */
function addVariables(text: string, translation: Translation): void {
  for (const [, before = '', name = ''] of text.matchAll(/(:?)\$\{([A-Za-z_]\w*)(?::?\?[^}]*)?\}/g))
    translation.variable(name, before === ':' ? '8080' : 'example.com')
  for (const [, name = ''] of text.matchAll(/\{\{\s*env\s+["'`](\w+)["'`]\s*\}\}/g))
    translation.variable(name, 'example.com')
}

function alternativesOf(name: string, node: Node, root: Node): Router[] {
  const rule = node.get('rule')
  const text = rule.text() ?? ''
  const priority = Number(node.get('priority').text() ?? 0)
  const options = node.get('tls', 'options').text()?.replace(/@\w+$/, '')
  // Its options may ask for certificates of clients.
  const doubt =
    options !== undefined && !root.get('tls', 'options', options).exists()
      ? `tls.options ${options}`
      : undefined
  return parseRule(text, rule.line).map((atoms) => ({
    name,
    node,
    matcher: matcherOf(atoms),
    priority: priority > 0 ? priority : text.length,
    doubt
  }))
}

// The names that all examples have for the ports 80 and 443.
const PUBLIC = /^(?:web|http|https|web-?secure|public)$/i

/** The entry points of the config: one gateway has one of them, beside the one that redirects to HTTPS. */
class EntryPoints {
  readonly #root: Node
  readonly #main: ReadonlySet<string>

  constructor(root: Node, http: Node) {
    this.#root = root
    const used = http
      .get('routers')
      .entries()
      .flatMap(([, router]) => router.get('entryPoints').texts())
    const isPublic = used.filter((name) => this.#isPublic(name))
    const hasDefault = http
      .get('routers')
      .entries()
      .some(([, router]) => router.get('entryPoints').texts().length === 0)
    this.#main = new Set(isPublic.length > 0 ? isPublic : hasDefault ? [] : used.slice(0, 1))
  }

  #isPublic(name: string): boolean {
    const address = this.#root.get('entryPoints', name, 'address').text()
    return address === undefined
      ? PUBLIC.test(name)
      : /^:(?:80|443|8080|8443)(?:\/tcp)?$/.test(address) && PUBLIC.test(name)
  }

  /** Returns the entry points of a router that is on none of the main ones: they may be for some networks only. */
  reasonToLeaveOut(router: Node): string | undefined {
    const names = router.get('entryPoints').texts()
    return names.length === 0 || names.some((name) => this.#main.has(name)) ? undefined : names.join(', ')
  }
}

/** With TLS, a plain listener only redirects: routers for that become `tls.redirectFrom`, and other plain ones are left out. */
function withoutRedirects(routers: readonly Router[], http: Node, translation: Translation): Router[] {
  const isSecure = ({ node }: Router): boolean =>
    node.get('tls').exists() && node.get('tls').text() !== 'false'
  if (!routers.some(isSecure)) return [...routers]
  return routers.filter((router) => {
    const names = router.node.get('entryPoints').texts()
    const isPlain =
      !isSecure(router) && names.length > 0 && names.every((name) => /^(?:web|http)$/i.test(name))
    if (!isPlain) return true
    const isRedirect = router.node
      .get('middlewares')
      .texts()
      .some((name) => http.get('middlewares', name.replace(/@\w+$/, ''), 'redirectScheme').exists())
    if (isRedirect) objectAt(translation.config, 'tls')['redirectFrom'] = 80
    else
      translation.missing(
        router.node.line,
        `router ${router.name} without TLS: run another gateway for it`,
        listAt(translation.config, 'routes')
      )
    return false
  })
}

function addGroup(list: Json[], host: string, routes: Json[], translation: Translation): void {
  if (routes.length === 0) return
  const rest = (entry: Json): string => JSON.stringify(entry)
  // Routes with comments stay apart, so that each comment is read beside its host.
  const isPlain = routes.every((route) => isJsonObject(route) && translation.commentsOf(route).length === 0)
  const same = list
    .filter(isJsonObject)
    .filter(() => isPlain)
    .find(
      (entry) =>
        Array.isArray(entry['routes']) && entry['routes'].map(rest).join() === routes.map(rest).join()
    )
  if (same === undefined) list.push({ host: literal(host), routes })
  else same['host'] = [same['host'] ?? [], literal(host)].flat()
}

function addTls(root: Node, routers: readonly Router[], translation: Translation): void {
  const secure = routers.filter(({ node }) => node.get('tls').exists() && node.get('tls').text() !== 'false')
  const certificates = root
    .get('tls', 'certificates')
    .items()
    .map(
      (each): Json => ({
        cert: literal(each.get('certFile').text() ?? ''),
        key: literal(each.get('keyFile').text() ?? '')
      })
    )
  if (certificates.length > 0) objectAt(translation.config, 'tls')['certificates'] = certificates
  const resolver = secure
    .map(({ node }) => node.get('tls', 'certResolver').text())
    .find((name) => name !== undefined)
  if (resolver !== undefined) {
    const email = root.get('certificatesResolvers', resolver, 'acme', 'email').text()
    const domains = [
      ...new Set(secure.flatMap(({ matcher }) => matcher.hosts ?? []).filter((host) => !host.startsWith('*')))
    ]
    if (domains.length > 0)
      objectAt(translation.config, 'tls')['acme'] = {
        domains: domains.map(literal),
        ...(email === undefined ? {} : { email: literal(email) }),
        agreeToTerms: true
      }
    const tls = objectAt(translation.config, 'tls')
    tls['redirectFrom'] ??= 80
    translation.comment(tls, `as the resolver ${resolver} does; read the terms of the authority`)
  }
  for (const [name, options] of root.get('tls', 'options').entries())
    addTlsOptions(name, options, secure, translation)
  const tls = translation.config['tls']
  if (!isJsonObject(tls) && secure[0] !== undefined)
    translation.missing(secure[0].node.line, 'tls without a certificate or a resolver')
  if (isJsonObject(tls) && tls['acme'] === undefined && tls['certificates'] === undefined) {
    translation.missing(secure[0]?.node.line ?? root.line, 'tls without a certificate or a resolver')
    // Without TLS, certificates of clients could not be required: that stays an error.
    if (tls['clientCertificates'] === undefined) delete translation.config['tls']
  }
}

function addTlsOptions(
  name: string,
  options: Node,
  secure: readonly Router[],
  translation: Translation
): void {
  const isUsed =
    name === 'default' ||
    secure.some(({ node }) => node.get('tls', 'options').text()?.replace(/@\w+$/, '') === name)
  const auth = options.get('clientAuth')
  if (!isUsed || !/^Require|^Verify/.test(auth.get('clientAuthType').text() ?? '')) return
  const [ca = 'clients.pem'] = auth.get('caFiles').texts()
  objectAt(translation.config, 'tls')['clientCertificates'] = { ca: literal(ca), required: true }
}

function addTrust(root: Node, translation: Translation): void {
  const trusted = root
    .get('entryPoints')
    .entries()
    .flatMap(([, entry]) => entry.get('forwardedHeaders', 'trustedIPs').texts())
  if (trusted.length > 0) translation.config['trustedProxies'] = [...new Set(trusted.map(literal))]
}

/** Counts routers, services and middlewares. */
function count(root: Node, translation: Translation): void {
  const http = root.get('http')
  for (const kind of ['routers', 'middlewares', 'services'])
    for (const [, { line }] of http.get(kind).entries())
      if (!translation.notes.some((note) => note.line === line.line && note.file === line.file))
        translation.done()
}
