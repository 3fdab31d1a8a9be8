import { type InvalidConfig, oneLine, rejects, rootConfig, routeConfig } from './helpers.ts'

rejects(
  'rejects unknown options with the value false',
  (
    [
      ['"limits": { "bodyRat": false }', 'limits.bodyRat'],
      ['"session": { "cookie": { "nam": false } }', 'session.cookie.nam'],
      ['"cors": { "origins": ["*"], "maxAg": false }', 'cors.maxAg'],
      [
        '"rateLimit": { "max": 1, "window": "1m", "also": { "day": { "mx": false } } }',
        'rateLimit.also.day.mx'
      ],
      ['"upstreams": { "a": { "url": "http://h", "tmeouts": false } }', 'upstreams.a.tmeouts'],
      ['"upstreams": { "a": { "url": "http://h", "tls": { "verfy": false } } }', 'upstreams.a.tls.verfy'],
      ['"proxy": { "preserveHos": false }', 'proxy.preserveHos'],
      [
        '"auth": { "users": { "list": [{ "name": "a", "secret": "bbbbbbbb", "role": false }] } }',
        'auth.users.list[0].role'
      ],
      ['"proxi": false', 'proxi']
    ] as const
  ).map(
    ([option, path]): InvalidConfig => ({
      name: path,
      config: `{ ${option}, "routes": [] }`,
      faults: [new RegExp(`^gateway\\.json:1:\\d+ ${path.replaceAll(/[.[\]]/g, '\\$&')}: Unknown `)]
    })
  )
)

rejects('rejects unknown options of a route with the value false', [
  {
    name: 'on a route',
    config: '{ "routes": [ { "path": "/a", "rateLimt": false, "respond": {} } ] }',
    faults: [/routes\[0\]\.rateLimt: Unknown /]
  },
  {
    name: 'in a concern, in a group and a target',
    config:
      '{ "routes": [ { "path": "/a", "cors": { "origins": ["*"], "maxAg": false }, "routes": [ { "path": "/b", "respond": { "statu": false } } ] } ] }',
    faults: [/routes\[0\]\.cors\.maxAg: Unknown /, /routes\[0\]\.routes\[0\]\.respond\.statu: Unknown /]
  },
  {
    name: 'an option of the root',
    config: '{ "routes": [ { "path": "/a", "limits": { "headerTime": false }, "respond": {} } ] }',
    faults: [/routes\[0\]\.limits\.headerTime: /]
  },
  {
    name: 'in an included file',
    config: {
      'gateway.json': '{ "routes": [ { "path": "/a", "include": "team.json" } ] }',
      'team.json': '{ "limits": { "bodyRat": false }, "routes": [] }'
    },
    faults: [/^team\.json:1:15 limits\.bodyRat: Unknown /]
  }
])

rejects('rejects an unknown option with its place and the closest name', [
  {
    name: 'at the root',
    config: '{\n  "rateLimt": { "max": 1 },\n  "routes": []\n}',
    faults: ['gateway.json:2:3 rateLimt: Unknown option "rateLimt"; did you mean "rateLimit"?']
  },
  {
    name: 'at the root, without a similar name',
    config: '{ "quux-quux-quux": 1, "routes": [] }',
    faults: [/^gateway\.json:1:3 \S+: Unknown option "quux-quux-quux"; known here: .*publicUrl.*rateLimit/]
  },
  {
    name: 'on a route',
    config: `{ "routes": [\n    { "path": "/a", "respond": {},\n      "ratelimit": true }\n] }`,
    faults: ['gateway.json:3:7 routes[0].ratelimit: Unknown option "ratelimit"; did you mean "rateLimit"?']
  },
  {
    name: 'instead of the target',
    config: '{ "routes": [\n  { "path": "/a", "respnd": {} } ] }',
    faults: [
      /^gateway\.json:2:3 routes\[0\]: The route has no target; .* did you mean "respond"\?$/,
      'gateway.json:2:19 routes[0].respnd: Unknown option "respnd"; did you mean "respond"?'
    ]
  },
  {
    name: 'inside an option of the root',
    config: '{ "routes": [],\n  "rateLimit": { "max": 3, "widow": "1s" } }',
    faults: ['gateway.json:2:28 rateLimit.widow: Unknown option "widow"; did you mean "window"?']
  },
  {
    name: 'deep inside a target',
    config:
      '{ "routes": [ { "path": "/a", "proxy": {\n "upstream": "http://h", "timeouts": { "header": "1s" } } } ] }',
    faults: [
      'gateway.json:2:40 routes[0].proxy.timeouts.header: Unknown option "header"; did you mean "headers"?'
    ]
  },
  {
    name: 'in a group within a group',
    config: `{ "routes": [ { "path": "/a", "routes": [ { "path": "/b", "routes": [\n{ "pth": "/c", "respond": {} } ] } ] } ] }`,
    faults: ['gateway.json:2:3 routes[0].routes[0].routes[0].pth: Unknown option "pth"; did you mean "path"?']
  },
  {
    name: 'an option of the root on a route',
    config: '{ "routes": [ { "path": "/a", "respond": {}, "upstreams": {} } ] }',
    faults: ['gateway.json:1:46 routes[0].upstreams: Unknown option "upstreams"; it belongs at the root']
  },
  {
    name: 'an option of a route at the root',
    config: '{ "respond": {}, "routes": [] }',
    faults: ['gateway.json:1:3 respond: Unknown option "respond"; it belongs on a route']
  },
  {
    name: 'a nested option that only the root may have',
    config: '{ "routes": [ { "path": "/a", "respond": {}, "limits": { "headerTime": "1s" } } ] }',
    faults: [/^gateway\.json:1:58 routes\[0\]\.limits\.headerTime: Unknown option "headerTime"/]
  }
])

rejects(
  'rejects a misplaced option with the place where it belongs',
  oneLine([
    [rootConfig('"port": 80'), 'port: Unknown option "port"; set PORT in the environment'],
    [
      rootConfig('"adminPort": 80'),
      'adminPort: Unknown option "adminPort"; set ADMIN_PORT in the environment'
    ],
    [
      rootConfig('"log_level": "debug"'),
      'log_level: Unknown option "log_level"; set LOG_LEVEL in the environment'
    ],
    [
      rootConfig('"host": "0.0.0.0"'),
      'host: Unknown option "host"; it belongs on a route, or set HOST in the environment'
    ],
    [rootConfig('"jwt": {}'), 'jwt: Unknown option "jwt"; it belongs in "auth" or "auth.require"'],
    [
      rootConfig('"auth": { "roles": ["a"] }'),
      'auth.roles: Unknown option "roles"; it belongs in "auth.require"'
    ],
    [
      routeConfig('"paths": {}, "respond": {}'),
      'routes[0].paths: Unknown option "paths"; it belongs at the root; did you mean "path"?'
    ],
    [
      routeConfig('"proxy": { "upstream": "http://h", "rateLimit": {} }'),
      'routes[0].proxy.rateLimit: Unknown option "rateLimit"; it belongs beside "proxy"'
    ],
    [routeConfig('"respond": {}, "tls": {}'), 'routes[0].tls: Unknown option "tls"; it belongs at the root'],
    [
      routeConfig('"limits": { "idle": "5s" }, "respond": {}'),
      'routes[0].limits.idle: Unknown option "idle"; it belongs at the root, in "limits"'
    ]
  ])
)

rejects('suggests only similar names', [
  {
    name: 'revision and backends',
    config: rootConfig('"revision": 1, "backends": []'),
    faults: [
      /^\S+ revision: Unknown option "revision"; known here: /,
      /^\S+ backends: Unknown option "backends"; known here: /
    ]
  },
  {
    name: 'swapped, missing or additional letters',
    config: rootConfig('"crsf": {}, "cor": {}, "upstraems": {}, "acessLogs": {}'),
    faults: [
      /did you mean "csrf"/,
      /did you mean "cors"/,
      /did you mean "upstreams"/,
      /did you mean "accessLog"/
    ]
  }
])
