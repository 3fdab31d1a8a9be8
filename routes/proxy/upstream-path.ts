import type { TargetRoute } from '../../src/kit/index.ts'
import { restOf, shapeOf } from '../../src/lib/http/rewrite.ts'
import { queryOf } from '../../src/lib/http/url-parts.ts'
import { rewritePatterns } from './handler.ts'
import type { ProxyOptions } from './options.ts'

/** Returns the pattern of the paths that the upstream gets for those of a pattern; undefined where more than the path decides. */
export function upstreamPath(
  { rewrite }: ProxyOptions,
  pattern: string,
  inherited: TargetRoute<ProxyOptions>['inherited']
): string | undefined {
  if (rewrite === undefined) return pattern
  const [replaced, another] = rewritePatterns([pattern], inherited)
  if (replaced === undefined || another !== undefined || rewrite.includes('{')) return undefined
  const to = rewrite.slice(0, rewrite.length - queryOf(rewrite).length)
  const { wildcard, depth } = shapeOf(replaced)
  return wildcard ? to.replace(/\/$/, '') + restOf(pattern, depth) || '/' : to
}
