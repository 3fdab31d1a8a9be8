import { createHash, createPublicKey } from 'node:crypto'
import { type Json, type JsonObject, listAt, objectAt } from '../json.ts'
import { Names, variableName } from '../names.ts'
import type { SourceNode } from '../source-node.ts'
import type { Translation } from '../translation.ts'
import { literal } from '../values.ts'
import type { Consumer } from './source.ts'
import { variableIn } from './text.ts'

/** An issuer of tokens: a consumer with the plugin jwt. */
export interface Issuer {
  readonly groups: readonly string[]
  readonly options: JsonObject
}

// As long as the longest hash, which a secret of ours may not be shorter than.
const EXAMPLE_SECRET = 'x'.repeat(64)

/** Puts the credentials of all consumers into `auth`, without any secret as it is; returns the issuers of tokens. */
export function addConsumers(consumers: readonly Consumer[], translation: Translation): Issuer[] {
  const issuers: Issuer[] = []
  const files = new Names()
  for (const consumer of consumers) {
    if (isTerminated(consumer)) {
      translation.done()
      continue
    }
    const guard = consumer.plugins.find((plugin) => plugin.get('enabled').flag !== false)
    if (guard !== undefined) {
      // Without it, the consumer could do more than before.
      translation.missing(
        guard.line,
        `plugin ${guard.get('name').text ?? ''} of the consumer ${consumer.name}, whose credentials are left out until you have translated it`
      )
      continue
    }
    translation.done()
    for (const node of consumer.credentials.get('key-auth') ?? []) addKey(consumer, node, translation)
    for (const node of consumer.credentials.get('basic-auth') ?? []) addUser(consumer, node, translation)
    for (const node of consumer.credentials.get('jwt') ?? []) {
      const options = issuerOf(consumer, node, { translation, files })
      if (options !== undefined) issuers.push({ groups: consumer.groups, options })
    }
    for (const plugin of ['hmac-auth', 'oauth2', 'mtls-auth'])
      for (const node of consumer.credentials.get(plugin) ?? [])
        translation.missing(node.line, `credential of the consumer ${consumer.name} for ${plugin}`)
  }
  return issuers
}

/** Returns whether all requests of a consumer are refused, which is how anonymous ones are. */
export const isTerminated = ({ plugins }: Consumer): boolean =>
  plugins.some((plugin) => plugin.get('name').text === 'request-termination')

const authOf = ({ config }: Translation): JsonObject => {
  const auth = objectAt(config, 'auth')
  // Kong asks for credentials only where a plugin does.
  auth['global'] = false
  return auth
}

function addKey({ name, groups }: Consumer, node: SourceNode, translation: Translation): void {
  const key = node.get('key').text
  if (key === undefined) return
  const variable = variableIn(key)
  const entry: JsonObject = { id: literal(name) }
  if (variable === undefined) entry['key'] = `sha256:${createHash('sha256').update(key).digest('hex')}`
  else entry['secret'] = translation.variable(variable, `key-of-${name}-${variable}`)
  if (groups.length > 0) entry['roles'] = groups.map(literal)
  const keys = objectAt(authOf(translation), 'apiKeys')
  listAt(keys, 'list').push(entry)
  if (variable === undefined)
    translation.comment(keys, 'Keys are hashed; those of your clients stay the same.')
  translation.done()
}

function addUser({ name, groups }: Consumer, node: SourceNode, translation: Translation): void {
  const user = node.get('username').text
  if (user === undefined) return
  const named = variableIn(user)
  const variable = variableIn(node.get('password').text ?? '') ?? variableName('PASSWORD', user)
  const entry: JsonObject = {
    name: named === undefined ? literal(user) : translation.variable(named, user.replaceAll(/\W/g, '')),
    secret: translation.variable(variable, `password-of-${user}`)
  }
  if (groups.length > 0) entry['roles'] = groups.map(literal)
  if (user !== name) translation.comment(entry, `The consumer ${name}; its id is the name of the user here.`)
  const users = objectAt(authOf(translation), 'users')
  listAt(users, 'list').push(entry)
  translation.comment(
    users,
    `Passwords are not copied: set the variables, or replace "secret" by "password" with what "sallyport hash" prints.`
  )
  translation.done()
}

function issuerOf(
  { name }: Consumer,
  node: SourceNode,
  { translation, files }: { translation: Translation; files: Names }
): JsonObject | undefined {
  const issuer = node.get('key').text
  const algorithm = node.get('algorithm').text ?? 'HS256'
  if (issuer === undefined) {
    translation.missing(node.line, `jwt_secrets of the consumer ${name} without a key`)
    return undefined
  }
  const options: JsonObject = { issuer: literal(issuer), algorithms: [literal(algorithm)] }
  if (algorithm.startsWith('HS')) {
    const variable = variableIn(node.get('secret').text ?? '') ?? variableName('JWT_SECRET', name)
    options['secret'] = translation.variable(variable, EXAMPLE_SECRET)
  } else options['keys'] = keyFile(node, name, { translation, files })
  translation.done()
  return options
}

/** Returns the name of the file that has to have the public key; a comment shows what is in it. */
function keyFile(
  node: SourceNode,
  consumer: string,
  { translation, files }: { translation: Translation; files: Names }
): string {
  const file = `jwks-${files.unique(consumer)}.json`
  translation.missing(
    node.get('rsa_public_key').line,
    `rsa_public_key of the consumer ${consumer}; put its key into ${file}`
  )
  const jwk = publicJwk(node.get('rsa_public_key').text ?? '')
  if (jwk !== undefined)
    translation.comment(translation.config, `${file}: ${JSON.stringify({ keys: [jwk] })}`)
  return file
}

function publicJwk(pem: string): object | undefined {
  try {
    return createPublicKey(pem).export({ format: 'jwk' })
  } catch {
    return undefined
  }
}

/** Returns the issuers as the option `jwt`; undefined if there are none. */
export const jwtOption = (issuers: readonly Issuer[], from: readonly string[]): Json | undefined =>
  issuers.length === 0 ? undefined : issuers.map(({ options }) => ({ ...options, from: [...from] }))
