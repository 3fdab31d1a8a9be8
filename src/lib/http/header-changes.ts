import { type TUnsafe, Type } from 'typebox'
import type { CallerToken } from '../caller-tokens.ts'
import { getOrCreate } from '../memoize.ts'
import type { OptionFault } from '../schema.ts'
import { EXPECTED, NO_SECRET, REPLACED_WHOLE, TEMPLATE } from '../units.ts'
import { type Template, templateFaults, type ValueKind, WITH_TOKENS } from '../values.ts'
import { HeaderName, headerFaults } from './header-options.ts'
import { headerTemplate } from './header-template.ts'
import { Statuses, type StatusOption, statusMatcher } from './statuses.ts'

const ACTIONS = ['set', 'add', 'default', 'remove'] as const

/** What is done to a header: replace it, add a field, set it where there is none, or remove it. */
export type HeaderAction = (typeof ACTIONS)[number]

/** A change of a header as an object in a config. */
interface HeaderSetting {
  readonly set?: string
  readonly add?: string
  readonly default?: string
  readonly remove?: true
  readonly on?: readonly StatusOption[]
}

/** The changes of a header as a config has them; a text sets it, `false` removes it. */
export type HeaderOption = string | false | HeaderSetting | readonly (string | HeaderSetting)[]

/** The changes of headers by their names. */
export type HeaderOptions = Readonly<Record<string, HeaderOption>>

/** A change of a header, compiled. */
export interface HeaderChange {
  /** In lower case. */
  readonly name: string
  readonly action: HeaderAction
  /** The new value; undefined for `remove`. */
  readonly value: Template | undefined
  /** Whether it applies to a response with a status; undefined for all. */
  readonly appliesTo: ((status: number) => boolean) | undefined
}

const text = (description: string): TUnsafe<string> =>
  Type.Unsafe<string>({ type: 'string', [TEMPLATE]: true, description })

const actions = {
  set: Type.Optional(text('The value, in place of any other.')),
  add: Type.Optional(text('The value of one more field.')),
  default: Type.Optional(text('The value where there is none.')),
  remove: Type.Optional(Type.Unsafe<true>({ const: true, description: 'Removes the header.' }))
}

const on = Statuses({
  description: 'The statuses of the responses that are changed; by default all.',
  examples: [['2xx', 304]]
})

const requestSetting = Type.Object(actions, {
  additionalProperties: false,
  description: 'How a request header is changed.'
})
const responseSetting = Type.Object(
  { ...actions, on: Type.Optional(on) },
  { additionalProperties: false, description: 'How a response header is changed.' }
)

/** Describes an option with changes of headers, by their names. */
export function HeaderChanges(
  direction: 'request' | 'response',
  props: { readonly description: string; readonly examples: readonly HeaderOptions[] }
) {
  const setting = direction === 'request' ? requestSetting : responseSetting
  const option = Type.Unsafe<HeaderOption>({
    anyOf: [
      { type: 'string', [TEMPLATE]: true },
      { const: false },
      setting,
      {
        type: 'array',
        minItems: 1,
        items: {
          anyOf: [{ type: 'string', [TEMPLATE]: true }, setting],
          [EXPECTED]: 'a string, or an object with "set", "add", "default" or "remove"'
        }
      }
    ],
    [REPLACED_WHOLE]: true,
    [EXPECTED]:
      'a string (with values such as "{client.ip}"), false to remove it, an object with "set", "add", "default" or "remove", or a list of these'
  })
  const mark = direction === 'response' ? { [NO_SECRET]: true } : {}
  return Type.Record(HeaderName, option, { additionalProperties: false, default: {}, ...mark, ...props })
}

interface PlacedSetting {
  readonly setting: HeaderSetting
  /** The path of the setting inside the option. */
  readonly path: readonly (string | number)[]
  /** The path of the value of an action. */
  readonly at: (action: HeaderAction) => readonly (string | number)[]
}

/** Lists the changes of an option in full. */
function settingsOf(option: HeaderOption): PlacedSetting[] {
  if (option === false) return [placed({ remove: true }, [], 'short')]
  const list = Array.isArray(option) ? (option as readonly (string | HeaderSetting)[]) : undefined
  return (list ?? [option as string | HeaderSetting]).map((each, i) => {
    const path = list === undefined ? [] : [i]
    return typeof each === 'string' ? placed({ set: each }, path, 'short') : placed(each, path, 'full')
  })
}

const placed = (
  setting: HeaderSetting,
  path: readonly (string | number)[],
  form: 'short' | 'full'
): PlacedSetting => ({ setting, path, at: (action) => (form === 'short' ? path : [...path, action]) })

const actionsIn = (setting: HeaderSetting): HeaderAction[] =>
  ACTIONS.filter((action) => setting[action] !== undefined)

/** Compiles the changes of an option, in their order. */
export const compileHeaders = (options: HeaderOptions, known?: readonly ValueKind[]): HeaderChange[] =>
  Object.entries(options).flatMap(([name, option]) =>
    settingsOf(option).map(({ setting }) => {
      const [action = 'remove'] = actionsIn(setting)
      const value = action === 'remove' ? undefined : setting[action]
      return {
        name: name.toLowerCase(),
        action,
        value: value === undefined ? undefined : headerTemplate(name, value, known),
        appliesTo: setting.on === undefined ? undefined : statusMatcher(setting.on)
      }
    })
  )

const tokens = new WeakMap<HeaderOptions, ReadonlySet<CallerToken>>()

/** Returns the tokens of the caller that changes of request headers send to the upstream. */
export const tokensInHeaders = (options: HeaderOptions): ReadonlySet<CallerToken> =>
  getOrCreate(
    tokens,
    options,
    () => new Set(compileHeaders(options, WITH_TOKENS).flatMap(({ value }) => value?.tokens ?? []))
  )

/** Returns the text of a header after the changes of an option have set it on a response with this status. */
export function textAfter(
  options: HeaderOptions,
  name: string,
  { text, status }: { readonly text: string; readonly status: number }
): string {
  const set = compileHeaders(options).findLast(
    (change) => change.name === name && change.action === 'set' && change.appliesTo?.(status) !== false
  )
  return set?.value?.text ?? text
}

/** Returns whether an option only removes a header. */
export const onlyRemoves = (option: HeaderOption): boolean =>
  settingsOf(option).every(({ setting }) => setting.remove === true)

// Fields that a message has once at most. Node.js refuses to send more of them over HTTP/2.
const SINGLE =
  /^(access-control-(allow-(credentials|origin)|max-age|request-method)|age|authorization|content-(disposition|encoding|language|length|location|md5|range|type)|date|etag|expires|from|if-.+|last-modified|location|max-forwards|proxy-authorization|range|referer|retry-after|user-agent|x-content-type-options)$/

/** Returns the errors of a header's changes that a schema cannot express. */
export function headerChangeFaults(
  name: string,
  option: HeaderOption,
  path: readonly string[],
  known?: readonly ValueKind[]
): OptionFault[] {
  return settingsOf(option).flatMap(({ setting, path: inner, at }) => {
    const here = actionsIn(setting)
    const [action = 'remove'] = here
    const value = action === 'remove' ? undefined : setting[action]
    const place = [...path, ...at(action)]
    if (here.length !== 1)
      return [
        {
          path: [...path, ...inner],
          message: `expected one of "set", "add", "default" and "remove", got ${here.length === 0 ? 'none' : `"${here.join('" and "')}"`}`
        }
      ]
    const found = [...headerFaults(name, value, place), ...templateFaults(value, place, known)]
    if (action === 'add' && SINGLE.test(name.toLowerCase()))
      found.push({
        path: place,
        message: `A message has "${name}" only once; "set" replaces it and "default" sets it where there is none`
      })
    return found
  })
}
