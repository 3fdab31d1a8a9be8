import { pathPolicyOf } from '../config/facets.ts'
import type { Plan, PlannedRoute } from '../config/plan-types.ts'
import { planRoutes } from '../gateway/planned-routes.ts'
import { makeTable, type Table } from '../gateway/route-table/index.ts'
import { makeNodes, type PatternNode } from '../gateway/route-table/nodes.ts'
import type { RouteInfo } from '../kit/index.ts'

/** The routes of a config, as the router has them. */
export interface RouteNodes {
  readonly plan: Plan
  /** The patterns of each host prefix; that of routes without a host is empty. */
  readonly nodes: ReadonlyMap<string, readonly PatternNode[]>
  readonly table: Table
  readonly trees: ReturnType<Table['treesOf']>
  readonly ignoreCase: boolean
  /** The routes of the config; built-in ones have none. */
  readonly planned: ReadonlyMap<RouteInfo, PlannedRoute>
}

/** Places the routes of a plan in the patterns of its route table. */
export async function routeNodesOf(plan: Plan): Promise<RouteNodes> {
  const { configured, entries } = await planRoutes(plan)
  const { ignoreCase } = pathPolicyOf(plan)
  const list = entries()
  const nodes = new Map<string, PatternNode[]>()
  for (const node of makeNodes(list, ignoreCase).values()) {
    const known = nodes.get(node.host)
    if (known === undefined) nodes.set(node.host, [node])
    else known.push(node)
  }
  const table = await makeTable(list, { ignoreCase })
  return {
    plan,
    nodes,
    table,
    trees: table.treesOf(),
    ignoreCase,
    planned: new Map(configured.map(([planned, info]) => [info, planned]))
  }
}
