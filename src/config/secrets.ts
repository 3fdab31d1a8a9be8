import { defineWarning } from '../kit/warning.ts'
import { isObject, itemsOf, schemaOf } from '../lib/schema.ts'
import { JSON_SCHEMA, NO_SECRET } from '../lib/units.ts'
import type { Path } from './fault.ts'
import { type Finding, findingAt } from './finding.ts'
import type { Origin } from './origins.ts'
import type { Plan } from './plan-types.ts'

const literalSecret = defineWarning('SP_WARN_SECRET_LITERAL', 'high', 'A secret in the text of the config')
const weakSecret = defineWarning('SP_WARN_SECRET_WEAK', 'high', 'A secret that is short or well known')

/** A secret of the config, and how it is written; its value is never part of a message. */
interface Secret {
  readonly origin: Origin
  readonly path: Path
  readonly value: string
  /** The text with `${…}`; undefined for one that is written out. */
  readonly template: string | undefined
}

/** Returns a warning for each secret that is written out in the config, and for each that can be guessed. */
export function secretFindings(plan: Plan): Finding[] {
  return secretsOf(plan).flatMap(({ origin, path, value, template }) => {
    const located = origin.locate(path)
    const isWritten = isText(located.place().file) && (template === undefined || hasFallback(template))
    // A secret that is written out is replaced anyway.
    const weakness = isWritten ? undefined : weaknessOf(value, path)
    return [
      ...(isWritten
        ? [
            findingAt(
              literalSecret(
                template === undefined
                  ? // biome-ignore lint/suspicious/noTemplateCurlyInString: ${…} is the syntax of the config
                    'This secret is in the text of the config, for everybody who can read it; "${NAME}" takes it from the environment, "${file:NAME}" from a file'
                  : 'The value after ":-" is a secret in the text of the config; without it, the variable has to be set',
                []
              ),
              located
            )
          ]
        : []),
      ...(weakness === undefined
        ? []
        : [
            findingAt(
              weakSecret(
                `This secret ${weakness}; "openssl rand -base64 32" makes one that can't be guessed`,
                []
              ),
              located
            )
          ])
    ]
  })
}

// A module may read a secret from anywhere, so that a value in it is not a text of the file.
const isText = (file: string): boolean => !/\.[cm]?[jt]s$/.test(file)

const hasFallback = (template: string): boolean => /:-[^{}]+\}/.test(template)

// A path that ends in one of these names leads to a secret, or to a list of them.
const SECRET_NAME = /^(secrets?|clientSecret|password|passphrase|hmacKey|token)$/i

// The names of headers and parameters that services take secrets in.
const SECRET_FIELD =
  /(?:^|[-_.])(?:api|access|auth|subscription|private|secret)[-_]?key$|[-_.](?:token|secret|password)$/i

// Hashes of passwords and keys are no secrets of their own.
const HASH = /^(\$|sha256:)/

const CREDENTIALS = /^(?:basic|bearer|token|api-?key)\s+(?!\{)\S/i

function secretsOf({ origins, routes, catalog }: Plan): Secret[] {
  const found = new Map<string, Secret>()
  const note = (origin: Origin, path: Path, value: string): void => {
    const { where } = origin.locate(path)
    found.set(JSON.stringify([where.file, where.path]), {
      origin,
      path,
      value,
      template: origin.templateOf(path)
    })
  }
  const seen = new Set<unknown>()
  const walk = (
    schema: unknown,
    origin: Origin,
    at: { readonly value: unknown; readonly path: Path }
  ): void => {
    const { value, path } = at
    if (isObject(schema) && (schema[NO_SECRET] === true || schema[JSON_SCHEMA] === true)) return
    if (typeof value === 'string') {
      if (isSecret(value, path)) note(origin, path, value)
      return
    }
    if (Array.isArray(value)) {
      const items = isObject(schema) ? itemsOf(schema) : undefined
      for (const [key, inner] of value.entries()) walk(items, origin, { value: inner, path: [...path, key] })
    } else if (isObject(value))
      for (const [key, inner] of Object.entries(value))
        walk(schemaOf(schema, key), origin, { value: inner, path: [...path, key] })
  }
  const schemas = new Map([...catalog.concerns, ...catalog.targets].map(({ key, options }) => [key, options]))
  const each = (key: string, all: readonly Origin[]): void => {
    for (const origin of all)
      if (!seen.has(origin.value)) {
        seen.add(origin.value)
        walk(schemas.get(key), origin, { value: origin.value, path: [] })
      }
  }
  for (const [key, all] of origins) each(key, all)
  for (const route of routes) {
    for (const [key, all] of route.origins) each(key, all)
    each(route.target, route.targetOrigins)
  }
  return [...found.values()]
}

function isSecret(value: string, path: Path): boolean {
  if (HASH.test(value) || value.startsWith('{')) return false
  const names = path.filter((key) => typeof key === 'string')
  const name = names.at(-1)
  if (name === undefined || path.at(-2) === 'endpoints') return false
  return SECRET_NAME.test(name) || isCredential(value) || isFieldOfSecret(value, names)
}

/** Returns whether a text is the value of a header or a parameter that a service takes a secret in. */
function isFieldOfSecret(value: string, names: readonly string[]): boolean {
  const name = names.findLast((each) => !ACTIONS.has(each)) ?? ''
  return SECRET_FIELD.test(name) && value.length >= MIN_PASSWORD && !/[\s{]/.test(value)
}

// "headers.request" has the value of a header in one of these.
const ACTIONS: ReadonlySet<string> = new Set(['set', 'add', 'default'])

/** Returns whether a text is the value of an `Authorization` header, or a URL with a password. */
const isCredential = (value: string): boolean =>
  CREDENTIALS.test(value) || /^[a-z][a-z0-9+.-]*:\/\/[^/?#@\s:]*:[^/?#@\s]+@/i.test(value)

const MIN_LENGTH = 16
const MIN_PASSWORD = 8
const WELL_KNOWN =
  /^(?:.*(?:change.?me|change.?this|replace.?me|your.?secret|default|p[a@]ssw[o0]rd|letmein|qwerty|keyboard.?cat|shhh|s3cr3t|supersecret|insecure).*|secret|test|admin|0?1234567\d*)$/i

function weaknessOf(value: string, path: Path): string | undefined {
  // A service of others makes these.
  const isOurs = SECRET_NAME.test(String(path.findLast((key) => typeof key === 'string')))
  if (isCredential(value) || !isOurs) return undefined
  const isPassword = path.some((key) => key === 'users' || key === 'password')
  const least = isPassword ? MIN_PASSWORD : MIN_LENGTH
  if (value.length < least) return `has ${value.length} characters, and needs ${least} at least`
  if (WELL_KNOWN.test(value)) return 'is one that attackers try first'
  if (new Set(value).size < Math.min(6, least / 2)) return 'repeats a few characters'
  return undefined
}
