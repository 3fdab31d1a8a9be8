import { isObject, type RouteInfo } from '../kit/index.ts'
import type { Fault } from './fault.ts'
import type { Plan, PlannedRoute } from './plan.ts'

/** What a person wants to see of a config: its routes, and what is worth a second look. */
export interface Survey {
  readonly routes: readonly {
    readonly what: string
    readonly gates: readonly string[]
    readonly target: string
  }[]
  readonly warnings: readonly Fault[]
}

/** Surveys a plan: every route with its words in the order in which they run, and warnings. */
export function surveyOf(plan: Plan): Survey {
  const standing = plan.catalog.standing.routes({
    publicUrl: plan.publicUrl,
    words: plan.words,
    routes: plan.routes
  })
  return {
    routes: [
      ...plan.routes.map((route) => ({
        what: whatOf(route),
        gates: gatesOf(plan, route.words),
        target: targetOf(route)
      })),
      ...standing.map((route) => ({
        what: `${route.methods.join(',')} ${route.hosts.join(',')}${route.path}`,
        gates: plan.catalog.concerns
          .map(({ key }) => key)
          .filter(
            (key) =>
              plan.words[key] !== undefined &&
              route.words[key] !== false &&
              (route.words['*'] !== false || route.words[key] !== undefined)
          )
          .filter(visible),
        target: route.name
      }))
    ],
    warnings: [...plan.warnings, ...publicBesideProtected(plan), ...overStanding(plan, standing)]
  }
}

/** Words that put nothing on a route. */
const visible = (key: string): boolean =>
  key !== 'upstreams' && key !== 'session' && key !== 'paths' && key !== 'errors'

const whatOf = ({ methods, hosts, paths }: PlannedRoute): string =>
  `${methods?.join(',') ?? '*'} ${hosts.join(',')}${paths.map(({ text }) => text).join(',')}`

function gatesOf(plan: Plan, words: Readonly<Record<string, unknown>>): string[] {
  return plan.catalog.concerns.flatMap(({ key }) => {
    const said = words[key]
    if (!isObject(said) || !visible(key)) return []
    return [said['mode'] === 'report' ? `${key} (report)` : key]
  })
}

function targetOf({ target, options }: PlannedRoute): string {
  const said = options as { upstream?: string; to?: string; root?: string; status?: number }
  const to = said.upstream ?? said.to ?? said.root ?? said.status
  return to === undefined ? target : `${target} ${String(to)}`
}

/** Routes that anybody may use, in a config where others are protected: often one that was forgotten. */
function publicBesideProtected({ routes }: Plan): Fault[] {
  const protectedOnes = routes.filter(({ words }) => isObject(words['auth']))
  if (protectedOnes.length === 0) return []
  return routes
    .filter(
      ({ words, scopes, target }) =>
        !isObject(words['auth']) && (target === 'proxy' || target === 'files') && scopes['auth'] === 'root'
    )
    .map(({ name, place }) => ({
      ...place,
      path: '',
      message: `The route ${name} is public beside protected ones; "auth": false says that it is meant`
    }))
}

function overStanding({ routes }: Plan, standing: readonly Pick<RouteInfo, 'path' | 'name'>[]): Fault[] {
  return routes.flatMap(({ name, paths, place }) =>
    standing
      .filter(({ path }) => paths.some((one) => one.text === path))
      .map((own) => ({
        ...place,
        path: '',
        message: `The route ${name} stands in the place of the gateway's own ${own.path} (${own.name})`
      }))
  )
}
