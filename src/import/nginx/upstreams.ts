import { type Json, type JsonObject, objectAt } from '../json.ts'
import type { Translation } from '../translation.ts'
import { literal } from '../values.ts'
import type { Directive } from './parse.ts'
import { durationOf } from './units.ts'

/** The `upstream` blocks, each translated when a location first uses it. */
export class Upstreams {
  readonly #blocks = new Map<string, Directive>()
  readonly #made = new Map<string, string>()
  readonly #translation: Translation

  constructor(blocks: readonly Directive[], translation: Translation) {
    this.#translation = translation
    for (const block of blocks) if (block.args[0] !== undefined) this.#blocks.set(block.args[0], block)
  }

  /** Returns the upstream of a URL without a path, such as `http://backend`: the name of a block, or the URL itself. */
  of(scheme: string, authority: string): string {
    const block = this.#blocks.get(authority)
    if (block === undefined) return urlOf(scheme, authority)
    const key = `${scheme} ${authority}`
    const known = this.#made.get(key)
    if (known !== undefined) return known
    const upstreams = objectAt(this.#translation.config, 'upstreams')
    const name = Object.hasOwn(upstreams, authority) ? `${authority}-${scheme}` : authority
    upstreams[name] = this.#translate(block, scheme)
    this.#made.set(key, name)
    return name
  }

  /** Returns the options of an upstream by its name; those of a URL get a name first. */
  optionsOf(upstream: string): { name: string; options: JsonObject } {
    const upstreams = objectAt(this.#translation.config, 'upstreams')
    const name = /^(?:\w+:|\$\{)/.test(upstream)
      ? upstream.replaceAll(/^\w+:\/*|:-[^}]*|^\$\{|[^\w.-]+$/g, '').replaceAll(/[^\w.-]+/g, '-')
      : upstream
    if (name !== upstream && !Object.hasOwn(upstreams, name)) upstreams[name] = { url: upstream }
    return { name, options: objectAt(upstreams, name) }
  }

  #translate({ block = [] }: Directive, scheme: string): JsonObject {
    const upstream: JsonObject = {}
    const targets: Json[] = []
    upstream['targets'] = targets
    for (const directive of block) {
      const { name, args } = directive
      if (name === 'server') targets.push(this.#target(directive, scheme, upstream))
      else if (name === 'least_conn') upstream['balance'] = 'leastRequests'
      else if (name === 'random') upstream['balance'] = args[0] === 'two' ? 'powerOfTwo' : 'random'
      else if (name === 'ip_hash') Object.assign(upstream, { balance: 'hash', hashOn: 'ip' })
      else if (name === 'hash' && hashOf(args[0]) !== undefined)
        Object.assign(upstream, { balance: 'hash', hashOn: hashOf(args[0]) })
      else if (name === 'keepalive_timeout' && durationOf(args[0] ?? '') !== undefined)
        objectAt(upstream, 'timeouts')['keepAlive'] = durationOf(args[0] ?? '') ?? ''
      else if (!/^(?:zone|keepalive|keepalive_requests|keepalive_time|resolver|resolver_timeout)$/.test(name))
        this.#translation.missing(directive, [name, ...args].join(' '), upstream)
    }
    const [only] = targets
    if (targets.length === 1 && typeof only === 'string') {
      delete upstream['targets']
      return { url: only, ...upstream }
    }
    return upstream
  }

  #target(directive: Directive, scheme: string, upstream: JsonObject): Json {
    const [address = '', ...parameters] = directive.args
    const target: JsonObject = { url: urlOf(scheme, address) }
    for (const parameter of parameters) {
      const [name = '', value = ''] = parameter.split('=', 2)
      if (name === 'weight') target['weight'] = Number(value)
      else if (name === 'backup') target['backup'] = true
      else if (name === 'down') target['weight'] = 0
      else if (name === 'max_fails' && Number(value) > 0)
        objectAt(upstream, 'eject')['failures'] = Number(value)
      else if (name === 'fail_timeout' && durationOf(value) !== undefined) {
        if (!/^0/.test(value)) objectAt(upstream, 'eject')['for'] = durationOf(value) ?? ''
      } else if (name === 'max_conns' && Number(value) > 0)
        objectAt(upstream, 'connections')['max'] = Number(value)
      else if (!/^(?:max_fails|resolve|max_conns)$/.test(name))
        this.#translation.missing(directive, `server … ${parameter}`, upstream)
    }
    return Object.keys(target).length === 1 ? (target['url'] ?? '') : target
  }
}

/** Returns the URL of an address such as "10.0.0.1:4000" or "unix:/run/app.sock". */
function urlOf(scheme: string, address: string): string {
  if (address.startsWith('unix:')) return literal(address.replace(/:$/, ''))
  return literal(`${scheme}://${address}`)
}

function hashOf(key: string | undefined): string | undefined {
  if (key === '$remote_addr' || key === '$binary_remote_addr') return 'ip'
  if (key === '$uri' || key === '$document_uri') return 'path'
  if (key === '$request_uri') return 'url'
  const [, header, cookie, argument] = /^\$(?:http_(\w+)|cookie_(\w+)|arg_(\w+))$/.exec(key ?? '') ?? []
  if (header !== undefined) return `header:${header.replaceAll('_', '-')}`
  if (argument !== undefined) return `query:${argument}`
  return cookie === undefined ? undefined : `cookie:${cookie}`
}
