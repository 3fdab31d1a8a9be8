import { defineWarning } from '../kit/warning.ts'
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

// Hashes of passwords and keys are no secrets of their own.
const HASH = /^(\$|sha256:)/

const CREDENTIALS = /^(?:basic|bearer|token|api-?key)\s+(?!\{)\S/i

function secretsOf({ origins, routes }: Plan): Secret[] {
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
  const walk = (origin: Origin, value: unknown, path: Path): void => {
    if (typeof value === 'string') {
      if (isSecret(value, path)) note(origin, path, value)
      return
    }
    if (typeof value !== 'object' || value === null) return
    for (const [key, inner] of Array.isArray(value) ? value.entries() : Object.entries(value))
      walk(origin, inner, [...path, key])
  }
  const each = (all: readonly Origin[]): void => {
    for (const origin of all)
      if (!seen.has(origin.value)) {
        seen.add(origin.value)
        walk(origin, origin.value, [])
      }
  }
  for (const all of origins.values()) each(all)
  for (const route of routes) {
    for (const all of route.origins.values()) each(all)
    each(route.targetOrigins)
  }
  return [...found.values()]
}

function isSecret(value: string, path: Path): boolean {
  if (HASH.test(value) || value.startsWith('{')) return false
  const name = path.findLast((key) => typeof key === 'string')
  if (typeof name !== 'string' || path.at(-2) === 'endpoints') return false
  return SECRET_NAME.test(name) || isCredential(value)
}

/** Returns whether a text is the value of an `Authorization` header, or a URL with a password. */
const isCredential = (value: string): boolean =>
  CREDENTIALS.test(value) || /^[a-z][a-z0-9+.-]*:\/\/[^/?#@\s:]*:[^/?#@\s]+@/i.test(value)

const MIN_LENGTH = 16
const MIN_PASSWORD = 8
const WELL_KNOWN =
  /^(?:.*(?:change.?me|change.?this|replace.?me|your.?secret|default|p[a@]ssw[o0]rd|letmein|qwerty|keyboard.?cat|shhh|s3cr3t|supersecret|insecure).*|secret|test|admin|0?1234567\d*)$/i

function weaknessOf(value: string, path: Path): string | undefined {
  if (isCredential(value)) return undefined
  const isPassword = path.some((key) => key === 'users' || key === 'password')
  const least = isPassword ? MIN_PASSWORD : MIN_LENGTH
  if (value.length < least) return `has ${value.length} characters, and needs ${least} at least`
  if (WELL_KNOWN.test(value)) return 'is one that attackers try first'
  if (new Set(value).size < Math.min(6, least / 2)) return 'repeats a few characters'
  return undefined
}
