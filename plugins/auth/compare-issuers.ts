import type { AboutComparison, OptionChange } from '../../src/kit/concern.ts'
import { isSame, notIn } from '../../src/lib/compare-options.ts'
import { duration } from '../../src/lib/units.ts'
import { narrowed, type Path, trustsOthers } from './access-changes.ts'
import { placeChanges } from './compare-credentials.ts'
import { issuersOf } from './jwt/issuers.ts'
import type { JwtOptions } from './jwt/options.ts'
import type { AuthOptions } from './options.ts'

/** Compares the issuers whose tokens are accepted. */
export function jwtChanges(before: AuthOptions, after: AuthOptions, about: AboutComparison): OptionChange[] {
  const [old, next] = [issuersOf(before.jwt), issuersOf(after.jwt)]
  const [only, onlyNext] = [old[0], next[0]]
  if (old.length === 1 && next.length === 1 && only !== undefined && onlyNext !== undefined)
    return issuerChanges(only, onlyNext, ['jwt'], about)
  const found = next.flatMap((options, i): OptionChange[] => {
    const path = Array.isArray(after.jwt) ? ['jwt', i] : ['jwt']
    const former = old.find(({ issuer }) => issuer === options.issuer)
    return former === undefined
      ? [trustsOthers(path, 'the tokens of another issuer')]
      : issuerChanges(former, options, path, about)
  })
  const gone = old.filter(({ issuer }) => !next.some((options) => options.issuer === issuer))
  return gone.length === 0
    ? found
    : [...found, narrowed(['jwt'], 'no longer accepts the tokens of an issuer')]
}

const listOf = (value: string | readonly string[] | undefined): readonly string[] =>
  value === undefined ? [] : [value].flat()

function issuerChanges(
  old: JwtOptions,
  next: JwtOptions,
  path: Path,
  about: AboutComparison
): OptionChange[] {
  const at = (name: string): Path => [...path, name]
  const found: OptionChange[] = []
  if (old.issuer !== next.issuer)
    found.push(
      old.issuer === undefined
        ? narrowed(at('issuer'), 'wants an issuer')
        : trustsOthers(at('issuer'), 'another issuer of tokens')
    )
  const [audience, nextAudience] = [listOf(old.audience), listOf(next.audience)]
  if (old.audience !== undefined && (next.audience === undefined || notIn(nextAudience, audience).length > 0))
    found.push(trustsOthers(at('audience'), 'tokens for another audience'))
  else if (!isSame(audience.toSorted(), nextAudience.toSorted()))
    found.push(narrowed(at('audience'), 'no longer accepts tokens for some audiences'))
  if (notIn(next.algorithms, old.algorithms).length > 0)
    found.push(trustsOthers(at('algorithms'), 'tokens that are signed by another algorithm'))
  else if (notIn(old.algorithms, next.algorithms).length > 0)
    found.push(narrowed(at('algorithms'), 'no longer accepts some algorithms'))
  const source = keySource(old, next, about)
  if (source !== undefined) found.push(trustsOthers(at(source), 'tokens that are signed by other keys'))
  for (const name of ['rolesClaim', 'scopesClaim'] as const)
    if (old[name] !== next[name]) found.push(trustsOthers(at(name), 'rights in another claim'))
  if (duration(next.leeway) > duration(old.leeway))
    found.push({
      class: 'widened-access',
      path: at('leeway'),
      message: 'accepts tokens longer after they expire'
    })
  else if (duration(next.leeway) < duration(old.leeway))
    found.push(narrowed(at('leeway'), 'accepts tokens less long after they expire'))
  if (old.resource !== next.resource)
    found.push({
      class: 'exposure',
      path: at('resource'),
      message: 'tells clients where to get tokens, or no longer'
    })
  return [...found, ...placeChanges(old.from, next.from, at('from'))]
}

/** Returns the option with which the keys of an issuer have changed. */
function keySource(
  old: JwtOptions,
  next: JwtOptions,
  { destination, isSameFile }: AboutComparison
): string | undefined {
  const placeOf = (side: 'before' | 'after', { jwks }: JwtOptions): unknown =>
    typeof jwks === 'object' ? [destination(side, jwks.upstream), jwks.path] : jwks
  if (!isSame(placeOf('before', old), placeOf('after', next))) return 'jwks'
  if (!isSameFile(old.keys, next.keys)) return 'keys'
  return old.secret === next.secret ? undefined : 'secret'
}
