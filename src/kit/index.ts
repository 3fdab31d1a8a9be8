export { createError } from '@fastify/error'
export { fastifyPlugin as fp } from 'fastify-plugin'
export { Type } from 'typebox'
export { type AskLimits, askUpstream, type WholeAnswer } from '../lib/ask-upstream.ts'
export { copyOf, thenGiveBack } from '../lib/body/lent-memory.ts'
export { callBack } from '../lib/callback.ts'
export {
  type Caller,
  type Forwarding,
  identityHeadersOf,
  originMatcher,
  type Provided,
  partReader,
  publicOrigin,
  sessionCounts
} from '../lib/caller.ts'
export { type Captured, capture } from '../lib/capture-hooks.ts'
export {
  type CertificateState,
  type ShownCertificate,
  showCertificate
} from '../lib/contracts/certificates.ts'
export { type Handler, isStream, type Sender, type Sending } from '../lib/contracts/dispatch.ts'
export type { DnsChallenge } from '../lib/contracts/dns.ts'
export {
  Durations,
  type MetricFamily,
  type MetricValue,
  Tally,
  type TargetState,
  type UpstreamState
} from '../lib/contracts/metrics.ts'
export type { Peers, PeerTopic } from '../lib/contracts/peers.ts'
export { type Script, type SharedStore, type Store, storeAway, storeState } from '../lib/contracts/store.ts'
export type {
  AnswerListener,
  AttemptPolicy,
  Extent,
  Fate,
  OutboundRequest,
  PolicyOptions,
  ReplayableBody,
  RetryPolicy,
  Sent,
  UpstreamService,
  UpstreamTarget
} from '../lib/contracts/upstream.ts'
export { fraction, scatter } from '../lib/hash.ts'
export { escapeHtml } from '../lib/html.ts'
export { addressOf, peerOf } from '../lib/http/addresses.ts'
export {
  acceptAnyContentType,
  hangUp,
  leaveBodies,
  resetConnection,
  takeAnyType
} from '../lib/http/bodies.ts'
export {
  type Canonical,
  canonicalHost,
  canonicalPath,
  HostInvalid,
  matchable,
  PathAmbiguous,
  PathSlash,
  type PathsOptions,
  PathUnsafe,
  pathsOptions,
  type SlashPolicy,
  TargetForm,
  VersionInvalid
} from '../lib/http/canonical-path.ts'
export { cookieIn, cookiesIn, LOGIN_COOKIE, withoutCookie } from '../lib/http/cookies.ts'
export { grpcRefusal, grpcTimeoutOf, isGrpc } from '../lib/http/grpc.ts'
export { HeaderName, headerFaults } from '../lib/http/header-options.ts'
export {
  cleanHeader,
  isClaim,
  isHeaderName,
  isHeaderValue,
  joinVary,
  plainName,
  wordsIn
} from '../lib/http/headers.ts'
export { isHttp2 } from '../lib/http/http2.ts'
export { endWithHead } from '../lib/http/http2-head.ts'
export { ROUTABLE } from '../lib/http/methods.ts'
export { isRange, originOf, RANGE_SAYS, rangeMatcher, spellOut } from '../lib/http/networks.ts'
export {
  elapsed,
  ownBytesOf,
  statusOf,
  type Waiting,
  waitForEnd,
  waitNoMore,
  whenOver,
  wordOf
} from '../lib/http/response-end.ts'
export {
  makeRewrite,
  paramFaults,
  type Rewrite,
  restOf,
  rewriteFaults,
  shapeOf
} from '../lib/http/rewrite.ts'
export { connectionOptions, tlsToward } from '../lib/http/tls-client.ts'
export { noteUpgrade, type Upgrade, upgradeOf, wantsWebSocket } from '../lib/http/upgrade.ts'
export { LINES, type LineLevel, lineWriter, quote, type WriteLine } from '../lib/log-lines.ts'
export { remember, rememberName } from '../lib/memoize.ts'
export {
  BodyTooLarge,
  BuffersFull,
  CodingUnknown,
  DeadlineExceeded,
  ExpectationUnknown,
  HeaderRepeated,
  HeadersTooLarge,
  Internal,
  Malformed,
  MediaUnknown,
  MethodRefused,
  type Refusal,
  Refused,
  RouteUnknown,
  SocketsExhausted,
  TooSlow,
  Unsendable,
  Untaken,
  UrlTooLong,
  withHeaders
} from '../lib/refusals.ts'
export {
  allowsFalse,
  deepFreeze,
  define,
  gate,
  isObject,
  isTemplate,
  itemsOf,
  mapFiles,
  merge,
  nearest,
  type Override,
  overrideOf,
  prune,
  type Static,
  schemaOf,
  type TObject,
  type TSchema
} from '../lib/schema.ts'
export { breathe, eachInSlices, inSlices } from '../lib/time-slicing.ts'
export {
  Duration,
  DurationOrNone,
  duration,
  durationOrNone,
  FILE,
  File,
  LONGEST_TIMER,
  RateOrNone,
  rate,
  rateOrNone,
  SAYS,
  Share,
  Size,
  SizeOrNone,
  share,
  size,
  sizeOrNone,
  TEMPLATE,
  TextOrNone,
  WHOLE
} from '../lib/units.ts'
export {
  UpstreamFailed,
  UpstreamTimeout,
  UpstreamUnavailable,
  unavailable,
  upstreamRefusal
} from '../lib/upstream-errors.ts'
export {
  claimOf,
  pathOf,
  queryOf,
  queryValue,
  type Reader,
  type Template,
  TemplateError,
  template,
  templateFaults,
  type ValueKind
} from '../lib/values.ts'
export type {
  About,
  AboutRoute,
  Concern,
  Head,
  HeadHook,
  HeadPlan,
  Mount,
  OptionFault,
  RouteInfo,
  SallyportConfig,
  StandingAbout,
  StandingRoute,
  Target,
  TargetRoute,
  TargetRoutes,
  WordsSaid
} from './concern.ts'
export {
  eachRoute,
  type Hooks,
  type Kit,
  layGround,
  newRoute,
  perOptions,
  perRoute,
  refuses,
  type Verdict
} from './per-route.ts'
export { type ReadBodyOptions, readBody } from './read-body.ts'
