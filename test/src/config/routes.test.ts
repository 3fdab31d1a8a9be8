import t from 'tap'
import { gateway } from '../../helpers.ts'
import { escaped, faultsOf, rejects, rootConfig } from './helpers.ts'

const proxyTo = (name: string): string => `{ "path": "/a", "proxy": { "upstream": "${name}" } }`

rejects('rejects an unknown upstream', [
  {
    name: 'similar to another name',
    config: `{ "upstreams": { "users": { "url": "http://h" } },\n  "routes": [ ${proxyTo('usrs')} ] }`,
    faults: ['gateway.json:2:42 routes[0].proxy.upstream: No upstream "usrs"; did you mean "users"?']
  },
  {
    name: 'not similar to any name',
    config: `{ "upstreams": { "users": { "url": "http://h" }, "shop": { "url": "http://h" } }, "routes": [ ${proxyTo('0123456789')} ] }`,
    faults: [/routes\[0\]\.proxy\.upstream: No upstream "0123456789"; expected one of users, shop, or a URL$/]
  },
  {
    name: 'without any upstream',
    config: `{ "routes": [ ${proxyTo('users')} ] }`,
    faults: [
      /No upstream "users"; the config has none: add it to "upstreams", or use a URL such as "http:\/\/localhost:4001"$/
    ]
  },
  {
    name: 'a URL with an unsupported scheme',
    config: `{ "routes": [ ${proxyTo('ftp://h')} ] }`,
    faults: [/No upstream "ftp:\/\/h"/]
  },
  {
    name: 'a URL with a port that there is not',
    config: `{ "routes": [ ${proxyTo('http://h:99999')} ] }`,
    faults: [/proxy\.upstream: expected a URL .* with a valid host and a port up to 65535/]
  },
  {
    name: 'a URL with a query',
    config: `{ "routes": [ ${proxyTo('http://h/?a')} ] }`,
    faults: [/proxy\.upstream: expected a URL .* with neither a query nor a fragment/]
  },
  {
    name: 'as the default of all proxies',
    config: `{ "proxy": { "upstream": "usrs" }, "upstreams": { "users": { "url": "http://h" } }, "routes": [ { "path": "/a", "proxy": true } ] }`,
    faults: ['gateway.json:1:14 proxy.upstream: No upstream "usrs"; did you mean "users"?']
  },
  {
    name: 'an upstream without targets',
    config: '{ "upstreams": { "users": {} }, "routes": [] }',
    faults: [
      'gateway.json:1:18 upstreams.users: The upstream "users" needs exactly one of "url", "targets" and "discover"'
    ]
  }
])

/** A config with two routes, and options at the root. */
const twoRoutes = (one: string, two: string, root = ''): string =>
  `{ ${root}"routes": [ { ${one}, "respond": {} },\n{ ${two}, "respond": {} } ] }`

t.test('rejects two routes that match the same requests', async (t) => {
  const cases: [name: string, config: string][] = [
    ['the same path', twoRoutes('"path": "/a"', '"path": "/a"')],
    ['one of several paths', twoRoutes('"path": ["/a", "/b"]', '"path": ["/c", "/b"]')],
    ['parameters of other names', twoRoutes('"path": "/a/:id/b"', '"path": "/a/:name/b"')],
    ['the same pattern of a parameter', twoRoutes('"path": "/:a(\\\\d+)"', '"path": "/:b(\\\\d+)"')],
    ['wildcards', twoRoutes('"path": "/a/*"', '"path": "/a/*"')],
    ['encoded otherwise', twoRoutes('"path": "/%61"', '"path": "/a"')],
    ['a host in common', twoRoutes('"path": "/a", "host": ["x.b", "y.b"]', '"path": "/a", "host": "y.b"')],
    [
      'a method in common',
      twoRoutes('"path": "/a", "methods": ["GET", "POST"]', '"path": "/a", "methods": ["POST"]')
    ],
    [
      'equal conditions',
      twoRoutes('"path": "/a", "when": {"header:a": "1"}', '"path": "/a", "when": {"header:A": ["2", "1"]}')
    ],
    [
      'conditions on different headers',
      twoRoutes('"path": "/a", "when": {"header:a": "1"}', '"path": "/a", "when": {"header:b": "1"}')
    ],
    [
      'overlapping ranges of addresses',
      twoRoutes(
        '"path": "/a", "when": {"client.ip": "private"}',
        '"path": "/a", "when": {"client.ip": "10.1.0.0/16"}'
      )
    ],
    [
      'overlapping wildcards',
      twoRoutes('"path": "/a/*", "when": {"path": "*.js"}', '"path": "/a/*", "when": {"path": "/a/x*"}')
    ],
    [
      'HEAD, which comes with GET',
      twoRoutes('"path": "/a", "methods": ["GET"]', '"path": "/a", "methods": ["HEAD"]')
    ],
    [
      'case that does not count',
      twoRoutes('"path": "/a"', '"path": "/A"', '"paths": { "ignoreCase": true }, ')
    ]
  ]
  for (const [name, config] of cases)
    t.test(name, async (t) => {
      const found = await faultsOf(t, config)
      t.equal(found.length, 1)
      t.match(
        found[0],
        /^gateway\.json:2:1 The route \S+.* matches the same requests as the one at gateway\.json:1:\d+; give /
      )
    })

  const apart: [name: string, config: string][] = [
    ['by another path', twoRoutes('"path": "/a"', '"path": "/b"')],
    ['by a final slash', twoRoutes('"path": "/a"', '"path": "/a/"')],
    ['by all below', twoRoutes('"path": "/a"', '"path": "/a/*"')],
    ['by a pattern', twoRoutes('"path": "/:a"', '"path": "/:a(\\\\d+)"')],
    ['by host', twoRoutes('"path": "/a"', '"path": "/a", "host": "x.b"')],
    ['by method', twoRoutes('"path": "/a", "methods": ["GET"]', '"path": "/a", "methods": ["POST"]')],
    ['by case', twoRoutes('"path": "/a"', '"path": "/A"')]
  ]
  for (const [name, config] of apart)
    t.test(`accepts routes that differ ${name}`, async (t) => {
      t.same(await faultsOf(t, config), [])
      await t.resolves(gateway(t, `${t.testdirName}/gateway.json`))
    })
})

rejects('rejects invalid routes', [
  {
    name: 'a group with a target',
    config: '{ "routes": [ { "path": "/g", "respond": {}, "routes": [] } ] }',
    faults: [
      'gateway.json:1:31 routes[0].respond: A group has no target of its own; move "respond" to a route'
    ]
  },
  {
    name: 'without a target',
    config: '{ "routes": [ { "path": "/g" } ] }',
    faults: [
      'gateway.json:1:15 routes[0]: The route has no target; expected one of proxy, aggregate, redirect, respond, files, apiDocs, or "routes" for a group'
    ]
  },
  {
    name: 'with two targets',
    config: '{ "routes": [ { "path": "/g", "redirect": { "to": "/x" }, "respond": {} } ] }',
    faults: ['gateway.json:1:59 routes[0].respond: expected one target, got redirect and respond']
  },
  ...['true', 'false'].map((value) => ({
    name: `with a target that is only ${value}`,
    config: `{ "routes": [ { "path": "/g", "respond": ${value} } ] }`,
    faults: [
      `gateway.json:1:31 routes[0].respond: expected an object with the options of "respond", got ${value}`
    ]
  })),
  {
    name: 'without a path',
    config: '{ "routes": [ { "host": "a.b", "respond": {} } ] }',
    faults: ['gateway.json:1:15 routes[0]: The route has no "path"; "/*" matches every path']
  },
  {
    name: 'with an invalid path',
    config: '{ "routes": [ { "path": "a", "respond": {} } ] }',
    faults: [
      'gateway.json:1:17 routes[0].path: expected a path that begins with "/" or a list of one or more, got "a"'
    ]
  },
  {
    name: 'with an empty list of paths',
    config: '{ "routes": [ { "path": [], "respond": {} } ] }',
    faults: [/routes\[0\]\.path: expected .* or a list of one or more, got \[\]$/]
  },
  {
    name: 'with an invalid path in a list',
    config: '{ "routes": [ { "path": ["/a", "b"], "respond": {} } ] }',
    faults: ['gateway.json:1:32 routes[0].path[1]: expected a path that begins with "/", got "b"']
  },
  ...(
    [
      ['/a/*/b', 'a "*" that is not at its end; "/*" matches everything below, ":name" one segment'],
      [
        '/a*',
        'a "*" that is not at its end; "/*" matches everything below, ":name" one segment, and ":name(a.*)" a part of one'
      ],
      [
        '/*.js',
        'a "*" that is not at its end; "/*" matches everything below, ":name" one segment, and ":name(.*\\\\.js)"'
      ],
      ['/a//b', 'an empty segment; one "/" would work'],
      ['/a/../b', 'a dot segment, which no request can have'],
      ['/a/:', '":", which is not a parameter; ":id" or ":id(\\\\d+)" would work'],
      ['/a/:id-x', '":id-x", which is not a parameter'],
      ['/:a(', '":a(", which is not a parameter'],
      ['/:a/:a', 'the parameter ":a" twice; give one another name'],
      ['/:a([)', '"([)", which is not a valid regular expression'],
      ['/a?b=c', "a character that a path can't have; percent-encode it, and leave the query out"],
      ['/a#b', "a character that a path can't have"],
      ['/a%', 'a "%" that is not percent-encoding'],
      ['/a%2Ax/*', '"%2A", which no route can match; use a parameter'],
      ['/users/{id}', '"{id}", which is not a parameter; ":id" would work'],
      ['/users/<int:id>', '"<int:id>", which is not a parameter; ":id" would work'],
      ['/users/<id>', '"<id>", which is not a parameter; ":id" would work'],
      ['/users/{user-id}/x', '"{user-id}", which is not a parameter; ":user_id" would work'],
      ['/users/{id:int}/*', '"{id:int}", which is not a parameter; ":id" would work'],
      ['/files/{name}.json', '"{name}.json", which is not a parameter; ":name" would work'],
      ['/files/{path...}', '"{path...}", which is not a parameter; ":path" would work'],
      ['/users/[id]/x', '"[id]", which is not a parameter; ":id" would work'],
      ['/users/[...slug]', '"[...slug]", which is not a parameter; ":slug" would work'],
      ['/users/[[...slug]]', '"[[...slug]]", which is not a parameter; ":slug" would work'],
      ['/:a((x+)+)', '"((x+)+)", which the router refuses as unsafe'],
      ['/:a(x)(y)', '"(x)(y)", which is not one pair of parentheses']
    ] as const
  ).map(([path, what]) => ({
    name: `with the path ${path}`,
    config: `{ "routes": [ { "path": "${path}", "respond": {} } ] }`,
    faults: [
      new RegExp(
        `^gateway\\.json:1:17 routes\\[0\\]\\.path: The path "${escaped(path)}" has ${escaped(what)}`
      )
    ]
  })),
  {
    name: 'with a parameter that is not in its path',
    config:
      '{ "routes": [ { "path": "/a/:id", "proxy": { "upstream": "http://h", "rewrite": "/b/{params.ix}" } } ] }',
    faults: [
      'gateway.json:1:70 routes[0].proxy.rewrite: expected a parameter of the path, got "{params.ix}"; the path has :id'
    ]
  },
  ...(
    [
      ['/b/:id', 'expected "{params.id}", got ":id"'],
      ['/b/:other', 'expected "{params.other}", got ":other"'],
      ['/b/$1', 'expected a value of the request, got "$1"; "{params.id}" is the value of ":id"'],
      ['/b/$id', 'expected "{params.id}", got "$id"'],
      ['/b/{id}', 'expected "{params.id}", got "{id}"'],
      ['/b/*', 'expected a path, got "*"; what "/*" matches is appended automatically']
    ] as const
  ).flatMap(([to, what]) => [
    {
      name: `with the rewrite ${to}`,
      config: `{ "routes": [ { "path": "/a/:id", "proxy": { "upstream": "http://h", "rewrite": "${to}" } } ] }`,
      faults: [new RegExp(`^gateway\\.json:1:70 routes\\[0\\]\\.proxy\\.rewrite: ${escaped(what)}`)]
    },
    {
      name: `with a redirect to ${to}`,
      config: `{ "routes": [ { "path": "/a/:id", "redirect": { "to": "http://h:80${to}?x=:id" } } ] }`,
      faults: [new RegExp(`routes\\[0\\]\\.redirect\\.to: ${escaped(what)}`)]
    }
  ]),
  {
    name: 'with a parameter that is not in all of its paths',
    config: '{ "routes": [ { "path": ["/a/:id", "/b"], "redirect": { "to": "/{params.id}" } } ] }',
    faults: [
      /routes\[0\]\.redirect\.to: expected a parameter of the path, got "\{params\.id\}"; the path has :id$/
    ]
  },
  {
    name: 'with an unknown value of the request',
    config: '{ "routes": [ { "path": "/a", "respond": { "body": "{nonsense.x}" } } ] }',
    faults: [
      /^gateway\.json:1:44 routes\[0\]\.respond\.body: expected one of \{client\.ip\}, .*, got "\{nonsense\.x\}"/
    ]
  },
  {
    name: 'with a misspelled value of the request, at the root',
    config: rootConfig('"headers": { "request": { "x-ip": "{clint.ip}" } }'),
    faults: [
      'gateway.json:1:29 headers.request.x-ip: expected a value of the request, got "{clint.ip}"; did you mean {client.ip}?'
    ]
  },
  {
    name: 'with a value that is not available in the option',
    config: '{ "routes": [ { "path": "/a", "proxy": { "upstream": "http://h", "rewrite": "/{path}" } } ] }',
    faults: [/routes\[0\]\.proxy\.rewrite: expected one of .*, got "\{path\}"/]
  },
  {
    name: 'with an unclosed brace',
    config: '{ "routes": [ { "path": "/a", "respond": { "body": "{host" } } ] }',
    faults: [
      /routes\[0\]\.respond\.body: expected a "\}" after "\{", got "\{host"; "\{\{" is a literal brace$/
    ]
  }
])
