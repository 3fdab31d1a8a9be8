import { showPath } from '../config/fault.ts'
import type { StandIns } from '../config/stand-ins.ts'
import { addressOutside, notIn } from '../lib/compare-options.ts'
import { isObject } from '../lib/schema.ts'
import type { ModuleChange } from './compare-concerns.ts'
import type { ComparedSide, Sides } from './compared-side.ts'

/** Compares the options of the root that belong to no concern. */
export function coreChanges({ before, after }: Sides): ModuleChange[] {
  const [old, next] = [before.plan, after.plan]
  const found: ModuleChange[] = []
  const more = addressOutside(next.trustedProxies, old.trustedProxies)
  const less = addressOutside(old.trustedProxies, next.trustedProxies)
  if (more !== undefined)
    found.push({
      key: 'trustedProxies',
      class: 'widened-access',
      path: [],
      message: `believes the X-Forwarded-* headers of more peers, such as ${more}`
    })
  if (less !== undefined)
    found.push({
      key: 'trustedProxies',
      class: 'narrowed-access',
      path: [],
      message: `no longer believes the X-Forwarded-* headers of some peers, such as ${less}`
    })
  if (old.clientIp !== next.clientIp)
    found.push({
      key: 'clientIp',
      class: 'widened-access',
      path: [],
      message: "takes the address of clients from another header, and it can't be decided who can send that"
    })
  if (old.publicUrl !== next.publicUrl)
    found.push({ key: 'publicUrl', class: 'moved', path: [], message: 'is another address for browsers' })
  return [...found, ...reservedHeaderChanges(before, after)]
}

/** Tells of headers that clients could not send to upstreams, and now can. */
function reservedHeaderChanges(before: ComparedSide, after: ComparedSide): ModuleChange[] {
  const keys = before.plan.catalog.concerns.flatMap(({ key, reservedHeaders }) =>
    reservedHeaders === undefined ? [] : [{ key, reservedHeaders }]
  )
  return keys.flatMap(({ key, reservedHeaders }) => {
    const names = ({ plan }: ComparedSide): string[] => [
      ...new Set(
        [plan.options[key], ...plan.routes.map(({ options }) => options[key])]
          .filter(isObject)
          .flatMap((options) => reservedHeaders(options as never))
      )
    ]
    return notIn(names(before), names(after)).map(
      (name): ModuleChange => ({
        key,
        class: 'widened-access',
        path: [],
        message: `no longer reserves the header ${name}, so that clients can send it to upstreams`
      })
    )
  })
}

/** Tells of options that depend on a variable without a value, where it decides between a few. */
export function missingValueChanges(
  before: { readonly standIns: StandIns },
  after: { readonly standIns: StandIns }
): ModuleChange[] {
  const idOf = ({ path, inner }: StandIns['guesses'][number]): string =>
    `${showPath(path.filter((key) => typeof key !== 'number'))} ${inner}`
  const known = new Set(before.standIns.guesses.map(idOf))
  return after.standIns.guesses
    .filter((guess) => !known.has(idOf(guess)))
    .map(({ path, inner }) => ({
      key: String(path[0]),
      class: 'widened-access',
      path: path.slice(1),
      message: `depends on \${${inner}}, which is not set, so that it can't be decided what changes`
    }))
}
