import type { SourceNode } from '../source-node.ts'
import type { Translation } from '../translation.ts'

/** A plugin, with what it is configured for. */
export interface Plugin {
  readonly name: string
  readonly node: SourceNode
  readonly config: SourceNode
  /** Where its requests are counted. */
  readonly level: 'global' | 'service' | 'route'
}

export interface Service {
  readonly name: string
  readonly node: SourceNode
  readonly plugins: readonly Plugin[]
  readonly routes: readonly Route[]
}

export interface Route {
  readonly name: string
  readonly node: SourceNode
  /** Its own plugins, and those of its service and of all routes that they do not replace. */
  readonly plugins: readonly Plugin[]
}

export interface Consumer {
  readonly name: string
  readonly node: SourceNode
  readonly groups: readonly string[]
  /** Credentials by the name of the plugin that takes them. */
  readonly credentials: ReadonlyMap<string, readonly SourceNode[]>
  readonly plugins: readonly SourceNode[]
}

/** A declarative config of Kong, with its references resolved. */
export interface KongConfig {
  readonly root: SourceNode
  readonly services: readonly Service[]
  readonly consumers: readonly Consumer[]
  readonly upstreams: ReadonlyMap<string, SourceNode>
}

/** The credentials of a consumer by the plugin that takes them. */
export const CREDENTIALS: Readonly<Record<string, string>> = {
  'key-auth': 'keyauth_credentials',
  'basic-auth': 'basicauth_credentials',
  jwt: 'jwt_secrets',
  'hmac-auth': 'hmacauth_credentials',
  oauth2: 'oauth2_credentials',
  'mtls-auth': 'mtls_auth_credentials'
}

/** Reads the entities of a config, nested ones and those that refer to others by name or id. */
export function readKong(root: SourceNode, translation: Translation): KongConfig {
  const global = root.get('plugins').items.filter((each) => scopeOf(each).length === 0)
  const consumers = root.get('consumers').items.map((node) => readConsumer(node, root))
  const services = root
    .get('services')
    .items.map((node, i) => readService(node, `service-${i + 1}`, root, global))
  const alone = root.get('routes').items.filter((each) => !each.get('service').exists)
  if (alone.length > 0) {
    const routes = alone.map((node, i) =>
      readRoute({ node, name: `route-${i + 1}`, root, outer: pluginsOf(global, 'global') })
    )
    services.push({ name: 'routes', node: root.get('routes'), plugins: [], routes })
  }
  for (const plugin of root.get('plugins').items) noteBrokenReference(plugin, { root, translation })
  const upstreams = new Map(root.get('upstreams').items.map((node) => [node.get('name').text ?? '', node]))
  return { root, services, consumers, upstreams }
}

function readService(
  node: SourceNode,
  fallback: string,
  root: SourceNode,
  global: readonly SourceNode[]
): Service {
  const name = node.get('name').text ?? fallback
  const own = [...node.get('plugins').items, ...referring(root, 'plugins', 'service', node)].filter(
    (each) => !each.get('route').exists && !isOfConsumer(each)
  )
  const plugins = pluginsOf(own, 'service')
  const outer = replaced(pluginsOf(global, 'global'), plugins)
  const routes = [...node.get('routes').items, ...referring(root, 'routes', 'service', node)].map(
    (route, i) => readRoute({ node: route, name: `${name}-${i + 1}`, root, outer })
  )
  return { name, node, plugins, routes }
}

function readRoute({
  node,
  name,
  root,
  outer
}: {
  node: SourceNode
  name: string
  root: SourceNode
  outer: readonly Plugin[]
}): Route {
  const own = [...node.get('plugins').items, ...referring(root, 'plugins', 'route', node)].filter(
    (each) => !isOfConsumer(each)
  )
  return { name: node.get('name').text ?? name, node, plugins: replaced(outer, pluginsOf(own, 'route')) }
}

function readConsumer(node: SourceNode, root: SourceNode): Consumer {
  const own = (key: string): SourceNode[] => [
    ...node.get(key).items,
    ...referring(root, key, 'consumer', node)
  ]
  const inside = [...root.get('services').items, ...routesIn(root)].flatMap(
    (each) => each.get('plugins').items
  )
  const groups = root.get('consumer_groups').items.filter((group) => isMember(node, group))
  return {
    name: node.get('username').text ?? node.get('custom_id').text ?? 'consumer',
    node,
    groups: own('acls').flatMap((each) => each.get('group').text ?? []),
    credentials: new Map(Object.entries(CREDENTIALS).map(([plugin, key]) => [plugin, own(key)])),
    plugins: [
      ...own('plugins'),
      ...inside.filter((plugin) => refersTo(plugin.get('consumer'), node)),
      ...groups.flatMap((group) => [
        ...group.get('plugins').items,
        ...[...root.get('plugins').items, ...inside].filter((plugin) =>
          refersTo(plugin.get('consumer_group'), group)
        )
      ])
    ]
  }
}

const routesIn = (root: SourceNode): SourceNode[] => [
  ...root.get('routes').items,
  ...root.get('services').items.flatMap((each) => each.get('routes').items)
]

/** Returns whether a consumer is in a group: either one may name the other. */
const isMember = (consumer: SourceNode, group: SourceNode): boolean =>
  consumer.get('groups').items.some((each) => refersTo(each, group)) ||
  group.get('consumers').items.some((each) => refersTo(each, consumer))

const pluginsOf = (nodes: readonly SourceNode[], level: Plugin['level']): Plugin[] =>
  nodes
    .filter((node) => node.get('enabled').flag !== false)
    .map((node) => ({ name: node.get('name').text ?? '', node, config: node.get('config'), level }))

/** A plugin nearer to the route takes the place of one of the same name further out, with all of its config. */
const replaced = (outer: readonly Plugin[], inner: readonly Plugin[]): Plugin[] => [
  ...outer.filter(({ name }) => !inner.some((each) => each.name === name)),
  ...inner
]

const isOfConsumer = (plugin: SourceNode): boolean =>
  plugin.get('consumer').exists || plugin.get('consumer_group').exists

const SCOPES = ['service', 'route', 'consumer', 'consumer_group'] as const

const scopeOf = (plugin: SourceNode): string[] => SCOPES.filter((key) => plugin.get(key).exists)

/** Returns the entities of the top that refer to another one. */
const referring = (root: SourceNode, key: string, scope: string, to: SourceNode): SourceNode[] =>
  root.get(key).items.filter((each) => refersTo(each.get(scope), to))

function refersTo(reference: SourceNode, to: SourceNode): boolean {
  const names = [
    reference.text,
    reference.get('name').text,
    reference.get('id').text,
    reference.get('username').text
  ]
  const own = [to.get('name').text, to.get('id').text, to.get('username').text]
  return names.some((name) => name !== undefined && own.includes(name))
}

/** A plugin whose service or route is not in the file applies to nothing here. */
function noteBrokenReference(
  plugin: SourceNode,
  { root, translation }: { root: SourceNode; translation: Translation }
): void {
  for (const key of scopeOf(plugin)) {
    const list =
      key === 'service'
        ? ['services']
        : key === 'route'
          ? ['routes', 'services']
          : ['consumers', 'consumer_groups']
    const known = list
      .flatMap((each) => root.get(each).items)
      .flatMap((each) => [each, ...each.get('routes').items])
    if (!known.some((each) => refersTo(plugin.get(key), each)))
      translation.missing(
        plugin.line,
        `plugin ${plugin.get('name').text ?? ''} of a ${key} that is not in the file`
      )
  }
}
