import type { Warning, WarningRule } from '../kit/warning.ts'
import { type Fault, type Place, showPath, showPlace } from './fault.ts'
import type { Located, Where } from './where.ts'

/** A warning and all that it is about, before what the config accepts is taken out. */
export interface Finding extends Warning {
  readonly subjects: readonly Subject[]
}

/** What a warning is about: a part of the config, such as a route or an option. */
export interface Subject extends Located {
  /** The name of the route that the message begins with; undefined if the message is whole. */
  readonly name?: string
  /** Where it may be accepted as well, such as on the route that inherits the option. */
  readonly also?: readonly Where[]
}

/** A warning as `check` shows it, at the place of its first subject. */
export interface CheckedWarning extends Fault, WarningRule {
  /** All its places, without duplicates. */
  readonly places: readonly Place[]
}

/** A warning that the config accepts. */
export interface AcceptedWarning extends CheckedWarning {
  readonly reason: string
}

/** Returns the finding of a warning at one part of the config. */
export const findingAt = (warning: Warning, subject: Located): Finding => ({
  ...warning,
  subjects: [{ where: subject.where, place: subject.place }]
})

// A warning names this many routes and counts the others.
const MAX_NAMED_ROUTES = 5

/** Returns a warning about some subjects of a finding; undefined without any. */
export function warningOf(
  { code, severity, title, message, path }: Finding,
  subjects: readonly Subject[]
): CheckedWarning | undefined {
  const [first] = subjects
  if (first === undefined) return undefined
  const names = subjects.flatMap(({ name }) => name ?? [])
  const all = subjects.map(({ place }) => place())
  const places = [...new Map(all.map((place) => [showPlace(place), place])).values()]
  return {
    code,
    severity,
    title,
    ...(all[0] ?? first.place()),
    path: path === undefined ? '' : showPath(first.where.path),
    message: names.length === 0 ? message : `${listed(names)} ${message}`,
    places
  }
}

function listed(names: readonly string[]): string {
  if (names.length === 1) return `The route ${names[0]}`
  const more = names.length - MAX_NAMED_ROUTES
  return `Each of the routes ${names.slice(0, MAX_NAMED_ROUTES).join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}
