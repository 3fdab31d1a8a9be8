import { close } from '../close.ts'
import { type JsonObject, listAt } from '../json.ts'
import { Names } from '../names.ts'
import { parseTree } from '../source-node.ts'
import { ImportError, type SourceLine, type SourceText } from '../source-text.ts'
import type { Translation } from '../translation.ts'
import { addConsumers, isTerminated } from './consumers.ts'
import { type Draft, keepOrder } from './order.ts'
import { addPlugins } from './plugins/index.ts'
import { addRateLimit, isRateLimit } from './plugins/rate-limiting.ts'
import { draftOf } from './routes.ts'
import { type Consumer, type KongConfig, type Plugin, readKong, type Service } from './source.ts'
import { Upstreams } from './upstreams.ts'

/** Translates a declarative config of Kong, as deck dumps it. */
export function translateKong(source: SourceText, translation: Translation): void {
  const root = parseTree(source)
  if (!root.get('_format_version').exists && !root.get('services').exists && !root.get('routes').exists)
    throw new ImportError(
      `${source.file}: expected a declarative config of Kong with "_format_version", got none`
    )
  const config = readKong(root, translation)
  if (!source.text.includes('request-size-limiting'))
    translation.comment(
      translation.config,
      'Kong does not limit request bodies; here the limit is 1 MB, unless you set "limits".'
    )
  const drafts = new Services(config, translation).translate()
  keepOrder(drafts, translation)
  for (const key of root.keys) if (!KNOWN.has(key)) translation.missing(root.get(key).line, key)
}

const KNOWN: ReadonlySet<string> = new Set([
  ...['_format_version', '_transform', '_info', '_comment', '_workspace', 'services', 'routes', 'upstreams'],
  ...[
    'consumers',
    'consumer_groups',
    'plugins',
    'acls',
    'keyauth_credentials',
    'basicauth_credentials',
    'jwt_secrets'
  ],
  ...['hmacauth_credentials', 'oauth2_credentials', 'mtls_auth_credentials', 'targets']
])

class Services {
  readonly #config: KongConfig
  readonly #translation: Translation
  readonly #upstreams: Upstreams
  readonly #names = new Names()
  readonly #groups = new Names()
  readonly #drafts: Draft[] = []
  readonly #doubts = new Map<JsonObject, [line: SourceLine, text: string][]>()
  /** Limits of the whole gateway are translated once, with all routes that they hold for. */
  readonly #limited: { plugin: Plugin; place: JsonObject; routes: JsonObject[] }[] = []

  constructor(config: KongConfig, translation: Translation) {
    this.#config = config
    this.#translation = translation
    this.#upstreams = new Upstreams(config, translation)
  }

  translate(): Draft[] {
    const translation = this.#translation
    const issuers = addConsumers(this.#config.consumers, translation)
    const terminated = new Set(this.#config.consumers.filter(isTerminated).flatMap(namesOf))
    for (const service of this.#config.services) this.#addService(service, { issuers, terminated })
    for (const { plugin, place, routes } of this.#limited) addRateLimit(plugin, place, routes, translation)
    for (const [route, doubts] of this.#doubts)
      for (const [line, text] of doubts) close(translation, route, line, text)
    return this.#drafts
  }

  #addService(
    service: Service,
    rest: { issuers: ReturnType<typeof addConsumers>; terminated: ReadonlySet<string> }
  ): void {
    const translation = this.#translation
    const target = this.#upstreams.add(service)
    translation.done()
    const isOldFormat = (this.#config.root.get('_format_version').number ?? 3) < 3
    const hasLimit = service.routes.length > 1 && service.plugins.some(({ name }) => isRateLimit(name))
    const group: JsonObject = hasLimit ? { name: this.#groups.unique(service.name) } : {}
    const place = hasLimit ? listAt(group, 'routes') : listAt(translation.config, 'routes')
    if (hasLimit) listAt(translation.config, 'routes').push(group)
    for (const source of service.routes) {
      const name = this.#names.unique(source.name)
      const doubts: [line: SourceLine, text: string][] = []
      const close = (line: SourceLine, text: string): void => void doubts.push([line, text])
      const draft = draftOf(source, { service, target, name, translation, isOldFormat, place, close })
      const { route } = draft
      addPlugins(source.plugins, { route, translation, close, ...rest })
      this.#drafts.push(draft)
      this.#doubts.set(route, doubts)
      for (const plugin of source.plugins.filter((each) => isRateLimit(each.name))) {
        const outer = plugin.level === 'service' && hasLimit ? group : route
        this.#limit(plugin, plugin.level === 'global' ? translation.config : outer, route)
      }
    }
  }

  #limit(plugin: Plugin, place: JsonObject, route: JsonObject): void {
    const known = this.#limited.find(
      (each) => each.place === place && each.plugin.node.value === plugin.node.value
    )
    if (known === undefined) this.#limited.push({ plugin, place, routes: [route] })
    else known.routes.push(route)
  }
}

const namesOf = ({ name, node }: Consumer): string[] => [name, ...[node.get('id').text ?? []].flat()]
