import { isJsonObject, type Json, type JsonObject } from '../../json.ts'
import type { SourceNode } from '../../source-node.ts'
import { literal } from '../../values.ts'
import { jwtOption } from '../consumers.ts'
import type { Plugin } from '../source.ts'
import type { RouteContext } from './context.ts'

/** The strategies by the name of the plugin, in the order in which Kong runs them. */
const STRATEGIES: Readonly<Record<string, string>> = {
  jwt: 'jwt',
  'key-auth': 'apiKeys',
  'basic-auth': 'basic'
}

/** Returns whether a plugin is translated together with the other ones that authenticate. */
export const isAuth = (name: string): boolean => Object.hasOwn(STRATEGIES, name) || name === 'acl'

/** Translates the plugins that authenticate, and acl. */
export function addAuth(plugins: readonly Plugin[], context: RouteContext): void {
  const { route } = context
  const methods = Object.keys(STRATEGIES).flatMap((name) => plugins.filter((each) => each.name === name))
  const acl = plugins.find(({ name }) => name === 'acl')
  if (methods.length === 0) {
    if (acl !== undefined) context.close(acl.node.line, 'acl without a plugin that authenticates')
    return
  }
  const auth: JsonObject = { by: methods.map(({ name }) => STRATEGIES[name] ?? '') }
  route['auth'] = auth
  const anonymous = methods
    .map(({ config }) => config.get('anonymous').text ?? '')
    .filter((name) => name !== '')
  if (!combine(methods, anonymous, { auth, context })) return
  for (const plugin of methods) if (!addStrategy(plugin, auth, context)) return
  if (acl !== undefined && !addAcl(acl, { methods, auth, context })) return
  const passOn = methods.filter(({ config }) => config.get('hide_credentials').flag !== true)
  if (passOn.length > 0) auth['passOn'] = passOn.map(({ name }) => STRATEGIES[name] ?? '')
  auth['identity'] = { 'x-consumer-username': 'id', 'x-consumer-groups': 'roles' }
}

/** Says how several plugins work together: all have to succeed, or any if each has an anonymous consumer. */
function combine(
  methods: readonly Plugin[],
  anonymous: readonly string[],
  { auth, context }: { auth: JsonObject; context: RouteContext }
): boolean {
  const { terminated } = context
  const [first] = methods
  if (first === undefined) return true
  if (anonymous.length === 0) {
    if (methods.length === 1) return true
    auth['by'] = [methods.map(({ name }) => STRATEGIES[name] ?? '').join('+')]
    if (methods.length === 2) return true
    context.close(first.node.line, `${methods.length} plugins that must all succeed`)
    return false
  }
  if (anonymous.length < methods.length) {
    context.close(first.node.line, 'plugins that authenticate, of which only some have an anonymous consumer')
    return false
  }
  if (!anonymous.every((name) => terminated.has(name))) auth['optional'] = true
  return true
}

function addStrategy({ name, config, node }: Plugin, auth: JsonObject, context: RouteContext): boolean {
  const { translation } = context
  if (name === 'key-auth') {
    auth['apiKeys'] = { from: keyPlaces(config) }
    if (config.get('key_in_body').flag === true)
      translation.missing(config.get('key_in_body').line, 'key-auth: keys in bodies', auth)
  }
  if (name === 'jwt') {
    const claim = config.get('key_claim_name').text ?? 'iss'
    const unsaid = ['maximum_expiration'].filter((key) => (config.get(key).number ?? 0) > 0)
    if (claim !== 'iss') unsaid.push('key_claim_name')
    if (unsaid.length > 0) {
      context.close(node.line, `jwt: ${unsaid.join(', ')}`)
      return false
    }
    if (config.get('secret_is_base64').flag === true)
      translation.comment(auth, 'secret_is_base64: set the variables of secrets to what base64 decodes to')
    if (config.get('cookie_names').items.length > 0)
      translation.missing(config.get('cookie_names').line, 'jwt: tokens in cookies', auth)
    const option = jwtOption(context.issuers, tokenPlaces(config))
    if (option !== undefined) auth['jwt'] = option
  }
  if (!isDefined(name, context)) {
    context.close(node.line, `${name} without a consumer that has a credential for it`)
    return false
  }
  translation.done()
  return true
}

/** Returns whether a consumer has a credential: without one, Kong refuses everybody. */
function isDefined(name: string, { translation, issuers }: RouteContext): boolean {
  if (name === 'jwt') return issuers.length > 0
  const { auth } = translation.config
  if (!isJsonObject(auth)) return false
  if (name === 'basic-auth') {
    if (auth['users'] === undefined) return false
    auth['basic'] = true
    return true
  }
  return auth['apiKeys'] !== undefined
}

function keyPlaces(config: SourceNode): Json[] {
  const names = config.get('key_names').exists ? config.get('key_names').texts : ['apikey']
  return names.flatMap((name) => [
    ...(config.get('key_in_header').flag === false ? [] : [`header:${literal(name)}`]),
    ...(config.get('key_in_query').flag === false ? [] : [`query:${literal(name)}`])
  ])
}

function tokenPlaces(config: SourceNode): string[] {
  const headers = config.get('header_names').exists ? config.get('header_names').texts : ['authorization']
  const query = config.get('uri_param_names').exists ? config.get('uri_param_names').texts : ['jwt']
  return [
    ...headers.map((name) => `header:${literal(name.toLowerCase())}`),
    ...query.map((name) => `query:${literal(name)}`)
  ]
}

/** Translates groups into roles; for tokens, into the issuers whose consumers are in a group. */
function addAcl(
  { config, node }: Plugin,
  { methods, auth, context }: { methods: readonly Plugin[]; auth: JsonObject; context: RouteContext }
): boolean {
  const { translation, issuers } = context
  const denied = [...config.get('deny').texts, ...config.get('blacklist').texts]
  const allowed = [...config.get('allow').texts, ...config.get('whitelist').texts]
  const isPair = methods.length > 1 && Array.isArray(auth['by']) && auth['by'].length === 1
  const ownIssuers = issuers.filter(({ groups }) => groups.some((group) => allowed.includes(group)))
  const hasTokens = methods.some(({ name }) => name === 'jwt')
  if (denied.length > 0 || allowed.length === 0 || (hasTokens && (isPair || ownIssuers.length === 0))) {
    context.close(node.line, denied.length > 0 ? `acl: deny ${denied.join(', ')}` : 'acl')
    return false
  }
  const require: JsonObject = {}
  for (const { name, config: own } of methods)
    if (name === 'jwt') {
      const option = jwtOption(ownIssuers, tokenPlaces(own))
      if (option !== undefined) auth['jwt'] = option
    } else require[STRATEGIES[name] ?? ''] = { roles: allowed.map(literal) }
  const isPlain = !hasTokens && !isPair
  if (isPlain) auth['require'] = { roles: allowed.map(literal) }
  else if (Object.keys(require).length > 0) auth['require'] = require
  translation.done()
  return true
}
