"""What the language and the library call of an object without naming it: does the analysis know of each such method?

Each expression is run with an object that notes which of its methods are called. Then each of these methods, alone, does something that
must not happen elsewhere: the analysis has to find that the call stays.
"""

# ruff: noqa: E501
from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from types import ModuleType

import pytest
from source_modules import SourceModules, load

from bundlebee.bundles.effects import Effect
from bundlebee.bundles.values import walk
from bundlebee.errors import Unshippable

TOOLS = """
import string, textwrap, html, posixpath, json, statistics, urllib.parse, difflib, re, base64, fnmatch, operator, itertools, collections, heapq, bisect, math, cmath, functools, random, inspect, struct, calendar, binascii, zlib, copy, datetime, fractions, decimal, ast, keyword, colorsys, types, hashlib, dataclasses, array, contextlib, enum, numbers
COUNT=[]
@dataclasses.dataclass
class dc:
    a: object
@dataclasses.dataclass(frozen=True)
class fdc:
    a: object
@dataclasses.dataclass(order=True)
class odc:
    a: object
nt=collections.namedtuple("nt","a")
class En(enum.Enum):
    A=1
def enum_(x): return En(x)
def print_(*a,**k): return a
def unpack(x):
    (y,)=x
def starred(x):
    y,*z=x
def forloop(x):
    for y in x: pass
def withx(x):
    with x as y: pass
def whilex(x):
    while x: break
def match_seq(x):
    match x:
        case [a,*b]: return 1
        case {"a":b}: return 2
        case str(): return 3
        case 1: return 4
def match_map(x):
    match {"a":x}:
        case {"a":1}: return 1
def match_val(x):
    match 1:
        case math.pi: return 1
    match x:
        case math.pi: return 1
def augadd(x): x+=1
def augsub(x): x-=1
def augor(x): x|=1
def auglist(x):
    y=[]; y+=x
def augset(x):
    y={1}; y|=x
def augdict(x):
    y={}; y|=x
def setit(x): x[0]=1
def delit(x): del x[0]
def attr(x): return x.zz
def assertx(x): assert x
def raisex(x):
    raise ValueError(x)
def slices(x):
    y=[1,2]; y[0:1]=x; return y
def yieldfrom(x):
    def g():
        yield from x
    return list(g())
def del_(x): del x
def is_(x): return x is None
def numbers_(x): return isinstance(x, numbers.Number)
from fractions import Fraction
def if_(x):
    if x: return 1
    while x: break
    return x and 1
def a_star(*a, **k): return a, k
"""

BODIES = {
    "__len__": "return 1",
    "__iter__": "return iter([1])",
    "__next__": "raise StopIteration",
    "__getitem__": "return 1 if a[0]==0 else (_ for _ in ()).throw(IndexError())",
    "__contains__": "return True",
    "__bool__": "return True",
    "__hash__": "return 1",
    "__eq__": "return True",
    "__ne__": "return False",
    "__lt__": "return True",
    "__gt__": "return True",
    "__le__": "return True",
    "__ge__": "return True",
    "__str__": 'return "s"',
    "__repr__": 'return "r"',
    "__format__": 'return "f"',
    "__int__": "return 1",
    "__float__": "return 1.0",
    "__index__": "return 1",
    "__complex__": "return 1j",
    "__bytes__": 'return b"a"',
    "__round__": "return 1",
    "__floor__": "return 1",
    "__ceil__": "return 1",
    "__trunc__": "return 1",
    "__abs__": "return 1",
    "__neg__": "return 1",
    "__pos__": "return 1",
    "__invert__": "return 1",
    "__call__": "return 1",
    "__enter__": "return 1",
    "__exit__": "return False",
    "__reversed__": "return iter([1])",
    "__length_hint__": "return 1",
    "__missing__": "return 1",
    "__setitem__": "pass",
    "__delitem__": "pass",
    "__fspath__": 'return "a"',
    "__divmod__": "return (1,1)",
    "__rdivmod__": "return (1,1)",
    "__instancecheck__": "return True",
    "__subclasscheck__": "return True",
    "__concat__": "return 1",
    "__mod__": "return 1",
    "__rmod__": "return 1",
    "__matmul__": "return 1",
    "__rmatmul__": "return 1",
    "__imatmul__": "return 1",
    "__get__": "return 1",
    "__set_name__": "pass",
    "__mro_entries__": "return ()",
    "__class_getitem__": "return 1",
    "__dir__": "return []",
    "__sizeof__": "return 1",
    "__getattr__": "raise AttributeError",
    "keys": "return [1]",
    "items": "return [(1,2)]",
    "values": "return [1]",
    "get": "return 1",
    "read": 'return ""',
    "write": "pass",
    "append": "pass",
    "as_integer_ratio": "return (1,1)",
    "numerator": "return 1",
    "denominator": "return 1",
    "conjugate": "return 1",
    "real": "return 1",
    "isoformat": 'return ""',
    "utcoffset": "return None",
    "timetuple": "return ()",
    "encode": 'return b""',
    "split": "return []",
    "strip": 'return ""',
    "close": "pass",
    "send": "pass",
    "throw": "pass",
    "total_seconds": "return 1.0",
    "__add__": "return 1",
    "__radd__": "return 1",
    "__iadd__": "return self",
    "__sub__": "return 1",
    "__rsub__": "return 1",
    "__isub__": "return self",
    "__mul__": "return 1",
    "__rmul__": "return 1",
    "__imul__": "return self",
    "__truediv__": "return 1",
    "__rtruediv__": "return 1",
    "__itruediv__": "return self",
    "__floordiv__": "return 1",
    "__rfloordiv__": "return 1",
    "__ifloordiv__": "return self",
    "__pow__": "return 1",
    "__rpow__": "return 1",
    "__ipow__": "return self",
    "__lshift__": "return 1",
    "__rlshift__": "return 1",
    "__ilshift__": "return self",
    "__rshift__": "return 1",
    "__rrshift__": "return 1",
    "__irshift__": "return self",
    "__and__": "return 1",
    "__rand__": "return 1",
    "__iand__": "return self",
    "__or__": "return 1",
    "__ror__": "return 1",
    "__ior__": "return self",
    "__xor__": "return 1",
    "__rxor__": "return 1",
    "__ixor__": "return self",
}
"""Methods, and what they do when nobody watches."""

EXPRESSIONS = """
x+1
1+x
[1]+x
"a"+x
x*2
2*x
[1]*x
"a"*x
x-1
1-x
x/2
2/x
x//2
2//x
x%2
2%x
"%s"%x
"%d"%x
"%r"%x
"%f"%x
"%x"%x
"%c"%x
"%(a)s"%x
b"%b"%x
x**2
2**x
pow(2,x)
pow(2,x,3)
pow(x,2,3)
x@1
1@x
x<<1
1<<x
x>>1
x&1
1&x
x|1
1|x
{1:2}|x
{1}|x
{1}&x
{1}-x
{1}^x
x^1
-x
+x
~x
abs(x)
round(x)
round(x,1)
divmod(x,1)
divmod(1,x)
x==1
1==x
x!=1
1!=x
[x]==[1]
(x,)==(1,)
{1:x}=={1:1}
[x]!=[1]
[x]<[1]
x<1
1<x
x>1
x<=1
x>=1
1<=x<=2
x in [1]
1 in x
x in (1,2)
x in {1}
x in {1:2}
x not in [1]
"a" in x
x in "abc"
not x
bool(x)
1 if x else 2
x and 1
x or 1
any([x])
all([x])
len(x)
iter(x)
list(x)
tuple(x)
set(x)
frozenset(x)
dict(x)
dict([x])
dict(**x)
{**x}
[*x]
{*x}
(*x,)
print_(*x)
print_(**x)
sorted(x)
sorted([x,1])
sorted([1],key=x)
min(x)
max([x,1])
min(x,1)
max(1,x)
min([1],key=x)
min([],default=x)
sum(x)
sum([x])
sum([1],x)
zip(x,x)
map(str,x)
map(x,[1])
filter(x,[1])
filter(None,x)
filter(None,[x])
enumerate(x)
enumerate([1],x)
reversed(x)
next(x)
next(x,1)
range(x)
range(1,x)
slice(x)
[1,2][x]
[1,2][x:]
[1,2][:x:1]
"ab"[x]
{1:2}[x]
{1:2}.get(x)
{1:2}.get(3,x)
{1:2}.pop(x,None)
{}.setdefault(x,1)
{x:1}
{x}
{x:1 for _ in [1]}
frozenset([x])
hash(x)
hash((x,))
str(x)
repr(x)
ascii(x)
format(x)
format(1,x)
f"{x}"
f"{x!r}"
f"{x!s:>5}"
f"{x:d}"
f"{1:{x}}"
"{}".format(x)
"{0.real}".format(x)
"{0[0]}".format(x)
"{a}".format_map(x)
"{a}".format(**x)
str([x])
repr({1:x})
"".join(x)
"".join([x])
"a".join([str(x)])
int(x)
int("1",x)
float(x)
complex(x)
complex(1,x)
bytes(x)
bytes([x])
bytearray(x)
chr(x)
ord(x)
hex(x)
bin(x)
oct(x)
isinstance(1,x)
isinstance(x,int)
issubclass(int,x)
callable(x)
x()
x(1)
[y for y in x]
[1 for y in [1] if x]
{y:1 for y in x}
list(y for y in x)
unpack(x)
starred(x)
forloop(x)
withx(x)
whilex(x)
match_seq(x)
match_map(x)
match_val(x)
augadd(x)
augsub(x)
augor(x)
auglist(x)
augset(x)
augdict(x)
setit(x)
delit(x)
attr(x)
assertx(x)
raisex(x)
slices(x)
yieldfrom(x)
[].append(x)
[].insert(x,1)
[1].insert(0,x)
[1].index(x)
[1].count(x)
[1].remove(x)
[1].pop(x)
[1].extend(x)
[x,1].sort()
[1,2].sort(key=x)
[1].sort(reverse=x)
[x].copy()
[1]*x
(1,).index(x)
(1,).count(x)
{1}.add(x)
{1}.discard(x)
{1}.update(x)
{1}.union(x)
{1}.intersection(x)
{1}.difference(x)
{1}.symmetric_difference(x)
{1}.issubset(x)
{1}.issuperset(x)
{1}.isdisjoint(x)
{1}.intersection_update(x)
{1}.difference_update(x)
{1:2}.update(x)
{1:2}.update(a=x)
dict.fromkeys(x)
dict.fromkeys([1],x)
dict.fromkeys([x])
"a".replace("a",x)
"a".split(x)
"a".split(None,x)
"a".startswith(x)
"a".find("a",x)
"a".center(x)
"a".zfill(x)
"a".translate(x)
"a".encode(x)
"a".strip(x)
"a".count("a",x)
str.maketrans(x)
b"a".join(x)
b"a".find(x)
b"".join([x])
(5).to_bytes(x,"big")
int.from_bytes(x,"big")
(1.5).__add__(x)
math.sqrt(x)
math.floor(x)
math.ceil(x)
math.trunc(x)
math.gcd(x,2)
math.factorial(x)
math.comb(x,1)
math.fsum(x)
math.fsum([x])
math.prod(x)
math.prod([x])
math.dist(x,[1])
math.hypot(x)
math.isclose(x,1)
math.log(x)
math.ldexp(1.0,x)
math.pow(x,1)
cmath.sqrt(x)
operator.add(x,1)
operator.index(x)
operator.truth(x)
operator.contains(x,1)
operator.countOf(x,1)
operator.indexOf(x,1)
operator.getitem(x,0)
operator.setitem(x,0,1)
operator.delitem(x,0)
operator.length_hint(x)
operator.itemgetter(0)(x)
operator.itemgetter(x)([1,2])
operator.attrgetter("real")(x)
operator.methodcaller("get")(x)
operator.iadd([],x)
operator.iadd(x,1)
operator.concat([1],x)
operator.eq(x,1)
operator.not_(x)
operator.neg(x)
operator.matmul(x,1)
itertools.chain(x)
itertools.chain.from_iterable([x])
itertools.chain.from_iterable(x)
itertools.islice(x,1)
itertools.islice([1],x)
itertools.product(x)
itertools.product([1],repeat=x)
itertools.combinations(x,1)
itertools.combinations([1],x)
itertools.permutations(x)
itertools.accumulate(x)
itertools.accumulate([1,2],x)
itertools.groupby(x)
itertools.groupby([x,x])
itertools.groupby([1],x)
itertools.compress(x,[1])
itertools.compress([1],x)
itertools.compress([1],[x])
itertools.dropwhile(x,[1])
itertools.takewhile(x,[1])
itertools.filterfalse(None,[x])
itertools.starmap(print_,[x])
itertools.starmap(x,[(1,)])
itertools.zip_longest(x,[1])
itertools.cycle(x)
itertools.repeat(1,x)
itertools.pairwise(x)
itertools.count(x)
itertools.tee(x)
functools.reduce(x,[1,2])
functools.reduce(operator.add,x)
functools.reduce(operator.add,[x,1])
functools.partial(x)()
functools.partial(print_,x)()
functools.cmp_to_key(x)(1)<functools.cmp_to_key(x)(2)
collections.Counter(x)
collections.Counter([x])
collections.Counter(a=1).update(x)
collections.Counter(a=1).subtract(x)
collections.Counter([1])+collections.Counter({1:x})
collections.OrderedDict(x)
collections.OrderedDict([(x,1)])
collections.OrderedDict(a=1).move_to_end(x)
collections.defaultdict(x)[1]
collections.defaultdict(list,x)
collections.defaultdict(list)[x]
collections.deque(x)
collections.deque([1],x)
collections.deque([1]).extend(x)
collections.deque([1]).rotate(x)
collections.deque([1]).index(x)
collections.deque([1]).remove(x)
collections.deque([1]).count(x)
collections.deque([1])[x]
collections.deque([x])==collections.deque([1])
collections.ChainMap(x)[1]
collections.ChainMap(x).get(1)
list(collections.ChainMap(x))
heapq.heappush([1],x)
heapq.heapify([x,1])
heapq.nlargest(x,[1])
heapq.nlargest(1,x)
heapq.nsmallest(1,[1],key=x)
heapq.merge(x)
heapq.heappushpop([1],x)
bisect.bisect([1],x)
bisect.bisect(x,1)
bisect.bisect([1],1,key=x)
bisect.insort([1],x)
statistics.mean(x)
statistics.mean([x])
statistics.median([x,1])
statistics.fmean([x])
statistics.mode([x])
statistics.stdev([x,1])
statistics.variance([1,2],x)
statistics.quantiles([1,2],n=x)
random.Random(1).choice(x)
random.Random(1).sample(x,1)
random.Random(1).shuffle(x)
random.Random(1).choices(x)
random.Random(1).choices([1],weights=x)
random.Random(1).choices([1],k=x)
random.Random(1).randint(x,3)
random.Random(1).randrange(x)
random.Random(1).uniform(x,1)
random.Random(1).gauss(x,1)
json.dumps(x)
json.dumps([x])
json.dumps({1:x})
json.dumps(1,indent=x)
json.dumps(1,default=x)
json.dumps([1],separators=x)
json.loads(x)
struct.pack("i",x)
struct.pack("d",x)
struct.unpack("b",x)
struct.calcsize(x)
binascii.hexlify(x)
binascii.crc32(x)
zlib.compress(x)
zlib.crc32(x)
base64.b64encode(x)
hashlib.sha256(x)
textwrap.fill(x)
textwrap.fill("a",x)
textwrap.indent("a",x)
string.capwords(x)
string.Template("$a").substitute(x)
html.escape(x)
posixpath.join("a",x)
posixpath.basename(x)
urllib.parse.quote(x)
urllib.parse.quote("a",x)
re.match("a",x)
re.sub("a",x,"a")
re.split("a",x)
re.compile(x)
re.escape(x)
re.findall("a",x)
fnmatch.fnmatchcase("a",x)
difflib.SequenceMatcher(None,x,"a")
difflib.get_close_matches("a",x)
list(difflib.ndiff(x,["a"]))
fractions.Fraction(x)
fractions.Fraction(1,x)
fractions.Fraction(1)+x
fractions.Fraction(1)==x
fractions.Fraction(1)<x
datetime.date(x,1,1)
datetime.timedelta(x)
datetime.timedelta(1)*x
datetime.timedelta(1)==x
datetime.date(2020,1,1)+x
datetime.date(2020,1,1)==x
datetime.date(2020,1,1)<x
datetime.date(2020,1,1).replace(year=x)
datetime.date(2020,1,1).strftime(x)
calendar.isleap(x)
calendar.monthrange(x,1)
colorsys.rgb_to_hsv(x,1,1)
ast.literal_eval(x)
inspect.cleandoc(x)
keyword.iskeyword(x)
copy.copy([x])
dataclasses.replace(dc(x))
dc(x)==dc(1)
repr(dc(x))
hash(fdc(x))
odc(x)<odc(1)
dataclasses.astuple(dc(x))
nt(x)==nt(1)
nt(x)._replace(a=1)
nt(*x)
nt._make(x)
enum_(x)
str.__add__("a",x)
list.__add__([1],x)
dict.__eq__({},x)
type(x)
int.__add__(1,x)
object.__eq__(x,1)
getattr(x,"real",1)
hasattr(x,"real")
setattr(x,"a",1)
sorted([(1,x),(1,1)])
max((1,x),(1,1))
[1,x].index(1.5)
[x].count(1)
(x,1)<(1,2)
x[0]
x[0:1]
x["a"]
x.a
x.__len__()
del_(x)
is_(x)
array.array("i",x)
array.array("i",[x])
types.MappingProxyType(x)
types.SimpleNamespace(a=x)==types.SimpleNamespace(a=1)
contextlib.suppress(x)
memoryview(x)
staticmethod(x)
property(x)
string.Formatter().format("{}",x)
string.Formatter().vformat("{}",x,{})
decimal.Decimal(x)
numbers_(x)
""".strip().splitlines()

BASES = {"S": str, "B": bytes, "D": dict, "L": list, "F": Fraction, "FL": float, "I": int, "T": tuple}
NOT_THESE = frozenset(
    [
        "__class__",
        "__new__",
        "__init__",
        "__init_subclass__",
        "__subclasshook__",
        "__reduce__",
        "__reduce_ex__",
        "__getstate__",
        "__setattr__",
        "__delattr__",
        "__dir__",
        "__sizeof__",
        "__getnewargs__",
        "__class_getitem__",
        "__getattribute__",
        "__hash__",
        "__setformat__",
        "__getformat__",
        "__abstractmethods__",
        "maketrans",
        "fromhex",
        "fromkeys",
        "from_float",
        "from_decimal",
        "from_bytes",
    ]
)
OF_DATA = """
string.capwords(S("a b"))
textwrap.dedent(S(" a"))
textwrap.fill(S("a b"))
textwrap.indent(S("a"),S(" "))
textwrap.shorten(S("a b c"),5)
textwrap.wrap(S("a b"))
html.escape(S("<"))
html.unescape(S("&lt;"))
posixpath.basename(S("a/b"))
posixpath.join(S("a"),S("b"))
posixpath.normpath(S("a//b"))
posixpath.splitext(S("a.b"))
posixpath.commonprefix([S("ab"),S("ac")])
posixpath.dirname(S("a/b"))
posixpath.isabs(S("a"))
urllib.parse.quote(S("a b"))
urllib.parse.unquote(S("a%20b"))
urllib.parse.quote_plus(S("a b"))
difflib.get_close_matches(S("ab"),[S("abc")])
list(difflib.ndiff([S("a")],[S("b")]))
list(difflib.unified_diff([S("a")],[S("b")]))
re.sub(S("a"),S("b"),S("aa"))
re.escape(S("a."))
re.findall(S("a"),S("aa"))
re.split(S("a"),S("bab"))
fnmatch.fnmatchcase(S("a"),S("*"))
fnmatch.translate(S("*"))
inspect.cleandoc(S(" a"))
json.dumps(D(a=1))
json.dumps({"a":D(b=1)},indent=1)
json.dumps(L([1]))
json.dumps([FL(1.5)])
json.dumps([I(5)])
json.loads(S("[1]"))
base64.b64encode(B(b"ab"))
base64.b64decode(S("YWI="))
base64.b32encode(B(b"ab"))
base64.b85encode(B(b"ab"))
statistics.mean([F(1,2)])
statistics.mean([FL(1.5)])
statistics.stdev([FL(1.5),FL(2.5)])
statistics.mean(L([1,2]))
statistics.multimode(L([1,2]))
statistics.quantiles(L([1,2,3]))
statistics.median_grouped(L([1,2,3]))
heapq.nlargest(1,L([1,2]))
list(heapq.merge(L([1]),L([2])))
heapq.heapify(L([2,1]))
heapq.heappush(L([2]),1)
heapq.heappop(L([2]))
bisect.bisect(L([1]),1)
bisect.insort(L([1]),1)
sorted(D(a=1))
dict(D(a=1))
{**D(a=1)}
dict(a=1,**D(b=1))
{}.update(D(a=1))
collections.OrderedDict(D(a=1))
collections.Counter(D(a=1))
collections.Counter(L([1]))
collections.ChainMap(D(a=1)).items()
list(collections.ChainMap(D(a=1)))
collections.defaultdict(list,D(a=1))
collections.deque(L([1]))
list(L([1]))
tuple(L([1]))
[*L([1])]
[].extend(L([1]))
sum(L([1]))
max(L([1]))
"".join(L(["a"]))
S("a").join(["b"])
"%s" % S("a")
"%(a)s" % D(a=1)
"{a}".format(**D(a=1))
"{a}".format_map(D(a=1))
string.Template("$a").substitute(D(a=1))
f"{S('a'):>5}"
str(S("a"))
int(S("1"))
float(S("1"))
Fraction(S("1/2"))
Fraction(FL(1.5))
Fraction(F(1,2))
decimal.Decimal(S("1"))
decimal.Decimal(FL(1.5))
math.fsum(L([1.0]))
math.prod(L([1]))
math.gcd(I(4),2)
operator.itemgetter("a")(D(a=1))
operator.contains(L([1]),1)
operator.countOf(L([1]),1)
operator.concat(L([1]),[2])
functools.reduce(operator.add,L([1,2]))
list(itertools.chain(L([1]),L([2])))
list(itertools.groupby(L([1])))
random.Random(1).choice(L([1]))
random.Random(1).sample(L([1,2]),1)
random.Random(1).shuffle(L([1,2]))
random.Random(1).choices(L([1,2]))
struct.pack(S("i"),1)
binascii.hexlify(B(b"a"))
zlib.compress(B(b"a"))
ast.literal_eval(S("[1]"))
keyword.iskeyword(S("if"))
colorsys.rgb_to_hsv(FL(.1),.2,.3)
datetime.date.fromisoformat(S("2020-01-01"))
datetime.date(2020,1,1).strftime(S("%Y"))
unicodedata.normalize("NFC",S("a"))
enumerate(L([1]))
zip(L([1]),L([2]))
map(str,L([1]))
reversed(L([1]))
copy.copy([S("a")])
repr(D(a=1))
str(L([1]))
D(a=1)|{"b":1}
L([1])+[2]
L([1])==[1]
set(L([1]))
frozenset(L([1]))
dict.fromkeys(L([1]))
bytes(L([1]))
bytearray(L([1]))
S("a").encode()
"a".replace(S("a"),"b")
"a,b".split(S(","))
S("a") in "abc"
print(S("a"))
isinstance(S("a"),S)
divmod(I(5),2)
round(FL(1.5))
pow(I(2),2)
hash(S("a"))
len(L([1]))
all(L([1]))
any(D(a=1))
min(D(a=1))
filter(None,L([1]))
next(iter(L([1])))
slice(I(1))
range(I(3))
[1,2,3][I(1)]
str.upper(S("a"))
dict.get(D(a=1),"a")
list.append(L([1]),2)
statistics.median(L([1,2]))
statistics.mode(L([1,2]))
statistics.variance([I(1),I(2)])
statistics.fmean(L([1.0]))
math.floor(F(1,2))
math.ceil(FL(1.2))
math.sqrt(I(4))
math.isclose(FL(1.0),1.0)
math.dist(L([1]),L([2]))
round(F(1,2))
abs(I(3))
float(F(1,2))
int(FL(1.5))
complex(FL(1.5))
bool(L([]))
not D()
if_(L([1]))
S("a")+"b"
S("a")*2
S("%s")%(1,)
I(1)+I(2)
FL(1)*2
L([1])*2
L([1])[0]
S("ab")[0]
D(a=1)["a"]
"a" in D(a=1)
S("a")<"b"
S("a")=="a"
{S("a"):1}
{S("a")}
[1][I(0):I(1)]
f"{FL(1.5):.2f}"
f"{I(1)!r}"
"%d" % I(3)
"%s" % I(3)
"{}".format(I(3))
"{0[0]}".format(L([1]))
"".join(T((S("a"),)))
print(I(3))
sorted([S("b"),S("a")])
min(I(1),I(2))
max([FL(1),FL(2)])
sum([I(1),I(2)])
divmod(FL(5),2)
pow(I(2),I(3),5)
chr(I(65))
hex(I(3))
list(range(I(2)))
bytes(I(2))
bytes([I(2)])
list(zip(S("a"),T((1,))))
dict([T(("a",1))])
dict(zip(T("a"),T("b")))
list(map(operator.neg,L([1])))
a_star(*L([1]))
a_star(**D(a=1))
[*S("ab")]
[x for x in T((1,))]
unpack(T((1,2)))
collections.Counter(S("aab")).most_common()
collections.Counter(a=1)+collections.Counter(D(a=1))
collections.deque(L([1])).extend(T((1,)))
operator.add(I(1),2)
operator.mul(S("a"),2)
operator.getitem(L([1]),0)
operator.attrgetter("real")(I(1))
operator.methodcaller("upper")(S("a"))
itertools.accumulate(L([1]))
list(itertools.islice(L([1]),I(1)))
list(itertools.product(L([1]),repeat=2))
list(itertools.zip_longest(L([1]),T((1,))))
functools.cmp_to_key(lambda a,b: 0)(I(1))
heapq.heapreplace([1],I(2))
bisect.bisect_left([1],I(2))
re.match("a",S("a"))
re.sub("a",S("b"),"a")
struct.pack("i",I(1))
json.dumps({S("a"):1})
json.dumps(T((1,)))
json.dumps({I(1):1})
json.dumps(S("a"))
math.gcd(I(4),I(6))
math.factorial(I(3))
math.comb(I(3),I(2))
decimal.Decimal(I(1))+1
Fraction(I(1),I(2))
Fraction(1,2)+I(1)
datetime.timedelta(I(1))
datetime.date(I(2020),1,1)
datetime.date(2020,1,1)+datetime.timedelta(days=FL(1.5))
calendar.isleap(I(2020))
colorsys.rgb_to_hls(FL(.1),FL(.2),FL(.3))
string.Formatter().format(S("{}"),I(1))
types.SimpleNamespace(**D(a=1))
str(B(b"a"),"utf8")
B(b"a").decode()
B(b"a")+b"b"
base64.b16encode(B(b"a"))
binascii.unhexlify(S("6161"))
zlib.crc32(B(b"a"))
urllib.parse.unquote(B(b"a%20"))
random.Random(I(1)).random()
random.Random(1).randrange(I(3))
random.Random(1).uniform(FL(1),2)
copy.copy(L([1]))
copy.deepcopy(T((1,)))
reversed(T((1,)))
enumerate(S("a"),I(1))
iter(D(a=1))
len(D(a=1))
hash(T((1,)))
hash(FL(1.5))
repr(S("a"))
ascii(S("a"))
format(I(1),S("d"))
str.join(S(","),T((S("a"),)))
dict.update({},D(a=1))
set().update(L([1]))
{1}|set(T((1,)))
frozenset([1])&set(L([1]))
{1}.issubset(L([1]))
[1].index(I(1))
[1].count(I(1))
(1,).index(I(1))
[3,1].sort(key=I(1).__add__)
{1:2}.get(I(1))
{1:2}.pop(I(1))
{}.setdefault(S("a"),1)
"abc".find(S("b"))
"abc".startswith(S("a"))
"abc".startswith(T(("a",)))
"a b".split(S(" "))
"abc".center(I(5))
"a".ljust(I(3),S("x"))
"abc".translate(D({97:"x"}))
str.maketrans(S("a"),S("b"))
isinstance(1,T((int,)))
all(T((1,)))
filter(None,T((1,)))
""".strip().splitlines()
"""With instances of classes that extend builtin data: S is a str, L a list, and so on."""

CALLS = re.compile(
    r"""\b(S|B|D|L|F|FL|I|T)\((?:[^()\"']|\"[^\"]*\"|'[^']*'|\((?:[^()\"']|\"[^\"]*\"|\([^()]*\))*\))*\)"""
)


class Noting:
    """Makes modules with a function that evaluates an expression, and classes of which some methods note that they are called."""

    def __init__(self) -> None:
        self.modules = SourceModules()
        tools = self.modules.load(TOOLS, "implicit_tools")
        names = [name for name in vars(tools) if not name.startswith("__")]
        self._head = f"from implicit_tools import {', '.join(names)}\nNOTES = []\n"

    def unsafe(self, expression: str, classes: Callable[[frozenset[str]], str]) -> Iterator[tuple[str, bool]]:
        """The methods that are called, each with whether the analysis says that the call stays."""
        made: list[str] = []

        def taken(found: re.Match[str]) -> str:
            made.append(found[0])
            return f"p{len(made) - 1}"

        text = CALLS.sub(taken, expression) if "X()" not in classes(frozenset()) else expression
        made = made or ["X()"]
        names = ", ".join(f"p{number}" for number in range(len(made))) if "p0" in text else "x"
        body = f"def run({names}):\n    return {text}\ndef make():\n    return ({', '.join(made)},)\n"
        for name in sorted(self._called(load(self._head + classes(ALL) + body, "implicit_sample"))):
            module = self.modules.load(self._head + classes(frozenset({name})) + body, "implicit_sample")
            if not self._called(module):
                continue
            args = module.make()
            module.NOTES.clear()
            try:
                found = walk(args, {})
            except Unshippable:
                yield name, True
                continue
            summary = self.modules.analysis.for_arguments(module.run, found, args, {})
            yield name, summary.level is Effect.UNSAFE

    @staticmethod
    def _called(module: ModuleType) -> set[str]:
        args = module.make()
        module.NOTES.clear()
        try:
            result = module.run(*args)
            if hasattr(result, "__next__") and result is not args[0]:
                list(itertools.islice(result, 5))
        except Exception:
            pass  # what was called before counts
        return set(module.NOTES)


ALL = frozenset({"*"})


def an_object(noting: frozenset[str]) -> str:
    """Class ``X``, made by ``X()``."""
    lines = ["class X:  # X()"]
    for name, body in BODIES.items():
        if noting is not ALL and name not in noting and name == "__getattr__":
            continue
        if noting is ALL and name == "__getattr__":
            continue
        note = noting is ALL or name in noting
        lines += [
            f"    def {name}(self, *a, **k):",
            *([f"        NOTES.append({name!r})"] if note else []),
            f"        {body}",
        ]
    return "\n".join(lines) + "\n"


def data(noting: frozenset[str]) -> str:
    """Classes ``S``, ``B``, … that extend builtin data."""
    lines = []
    for short, base in BASES.items():
        lines.append(f"class {short}({base.__name__}):")
        if base not in (list, dict):
            lines.append(f"    __hash__ = {base.__name__}.__hash__")
        for name in dir(base):
            inner = name.startswith("_") and not name.startswith("__")
            if name in NOT_THESE or inner or not callable(getattr(base, name)):
                continue
            if noting is ALL or name in noting:
                lines += [
                    f"    def {name}(self, *a, **k):",
                    f"        NOTES.append({name!r})",
                    f"        return {base.__name__}.{name}(self, *a, **k)",
                ]
        lines.append("    pass")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def noting() -> Iterator[Noting]:
    made = Noting()
    yield made
    made.modules.forget()


def check(noting: Noting, expressions: list[str], classes: Callable[[frozenset[str]], str]) -> None:
    missed, known = [], 0
    for expression in expressions:
        for name, unsafe in noting.unsafe(expression, classes):
            known += unsafe
            if not unsafe:
                missed.append(f"{expression} calls {name}")
    assert missed == []
    assert known > len(expressions) // 3


@pytest.mark.parametrize("part", range(8))
def test_methods_of_an_object(noting: Noting, part: int) -> None:
    check(noting, EXPRESSIONS[part::8], an_object)


@pytest.mark.parametrize("part", range(4))
def test_methods_of_extended_data(noting: Noting, part: int) -> None:
    check(noting, OF_DATA[part::4], data)
