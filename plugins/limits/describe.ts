import { type Description, describeRefusal } from '../../src/kit/index.ts'
import {
  BodyTooLarge,
  DeadlineExceeded,
  HeadersTooLarge,
  TooSlow,
  UrlTooLong
} from '../../src/lib/refusals.ts'
import type { LimitsOptions } from './options.ts'

/** Describes the errors of the limits that are on. */
export const describes = ({
  body,
  headers,
  headerCount,
  url,
  time,
  bodyRate
}: LimitsOptions): Description => ({
  refusals: [
    ...(bodyRate === false ? [] : [describeRefusal(TooSlow, { onlyFor: 'bodies' })]),
    ...(body === false ? [] : [describeRefusal(BodyTooLarge, { onlyFor: 'bodies' })]),
    ...(url === false ? [] : [describeRefusal(UrlTooLong)]),
    ...(headers === false && headerCount === false ? [] : [describeRefusal(HeadersTooLarge)]),
    ...(time === false ? [] : [describeRefusal(DeadlineExceeded)])
  ]
})
