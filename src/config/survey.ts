import { isObject, type RouteInfo } from '../kit/index.ts'
import type { Fault } from './fault.ts'
import type { Plan, PlannedRoute } from './plan.ts'
import { withoutSecrets } from './shown.ts'

/** What a person wants to see of a config: its routes, and what is worth a second look. */
export interface Survey {
  readonly routes: readonly {
    readonly what: string
    readonly gates: readonly string[]
    readonly target: string
  }[]
  readonly warnings: readonly Fault[]
}

/** Surveys a plan and the routes that were built from it: every route with its gates in the order in which they run, and warnings. */
export function surveyOf(plan: Plan, infos: readonly RouteInfo[], workers = 1): Survey {
  return {
    routes: infos.map((info, i) => ({
      what: whatOf(info),
      gates: gatesOf(info),
      target: targetOf(info, plan.routes[i])
    })),
    warnings: [
      ...plan.warnings,
      ...publicBesideProtected(plan),
      ...byConcerns(plan),
      ...(workers > 1 ? withoutStore(plan) : []),
      ...overStanding(
        plan,
        infos.filter(({ kind }) => kind === 'standing')
      )
    ]
  }
}

const whatOf = ({ methods, hosts, path }: RouteInfo): string =>
  `${methods?.join(',') ?? '*'} ${hosts.join(',')}${path}`

const gatesOf = ({ gates, words }: RouteInfo): string[] =>
  gates.map((key) => {
    const said = words[key]
    return isObject(said) && said['mode'] === 'report' ? `${key} (report)` : key
  })

function targetOf(info: RouteInfo, planned: PlannedRoute | undefined): string {
  if (info.kind !== 'config' || planned === undefined) return info.name
  const said = planned.options as { upstream?: string; to?: string; root?: string; status?: number }
  const to = said.upstream ?? said.to ?? said.root ?? said.status
  return to === undefined ? planned.target : `${planned.target} ${withoutSecrets(String(to))}`
}

/** Routes that anybody may use, in a config where others are protected: often one that was forgotten. */
function publicBesideProtected({ routes }: Plan): Fault[] {
  const protectedOnes = routes.filter(({ words }) => isObject(words['auth']))
  if (protectedOnes.length === 0) return []
  return routes
    .filter(
      ({ words, said, target }) =>
        !isObject(words['auth']) && (target === 'proxy' || target === 'files') && !said.includes('auth')
    )
    .map(({ name, place }) => ({
      ...place,
      path: '',
      message: `The route ${name} is public beside protected ones; "auth": false says that it is meant`
    }))
}

/** What the concerns themselves find worth a second look. */
function byConcerns({ routes, catalog }: Plan): Fault[] {
  return catalog.concerns.flatMap(({ key, warnings }) =>
    warnings === undefined
      ? []
      : routes
          .filter(({ words }) => isObject(words[key]))
          .flatMap(({ name, place, words }) =>
            warnings(words[key] as never).map((said) => ({
              ...place,
              path: '',
              message: `The route ${name} ${said}`
            }))
          )
  )
}

/** What several workers count or remember, each in its own memory. */
function withoutStore({ file, words, routes }: Plan): Fault[] {
  const { redis, cluster, sentinel } = (words['store'] ?? {}) as Readonly<Record<string, unknown>>
  if (redis !== undefined || cluster !== undefined || sentinel !== undefined) return []
  const uses = ['session', 'rateLimit'].filter(
    (word) => isObject(words[word]) || routes.some(({ words: own }) => isObject(own[word]))
  )
  return uses.length === 0
    ? []
    : [
        {
          file,
          path: '',
          message: `Several workers without a "store" share "${uses.join('" and "')}" by telling each other: limits let a little more through, and all is lost when they end; a Redis (REDIS_URL) would be exact`
        }
      ]
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
